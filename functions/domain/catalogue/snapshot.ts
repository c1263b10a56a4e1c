/**
 * A catalogue as one binary object: a small table in JSON, then the columns as they lie in memory, so that loading is making views.
 *
 *   0  "EWSN"              4  u32 version        8  u32 bytes of the whole       12  u32 bytes of the table
 *   16  table (JSON, UTF-8), then the sections, each at a multiple of 8. Little-endian, as every platform of ours is.
 */
import { CatalogueColumns, OWN_FIELDS, type OwnField } from "./columns.ts";
import { Dictionary } from "./dictionary.ts";
import { Field } from "./field.ts";
import { IdColumn, NumberColumn, type IdArray, type NumberArray, type NumberKind } from "./typed-columns.ts";

const MAGIC = 0x4e535745; // "EWSN" read as a little-endian u32
const VERSION = 1;
const HEADER_BYTES = 16;

const ARRAYS = { Uint8Array, Uint16Array, Uint32Array, Int32Array, Float64Array } as const;
type ArrayName = keyof typeof ARRAYS;
type ColumnArray = IdArray | NumberArray;

/** Where an array lies: bytes from the start of the object, and its number of elements. */
interface Section {
  readonly type: ArrayName;
  readonly offset: number;
  readonly length: number;
}

interface FieldTable {
  readonly arena: Section;
  readonly ends: Section;
  readonly ids: Section;
  readonly kind: NumberKind;
  readonly numbers: Section;
}

interface Table {
  readonly revision: number;
  readonly lastNumber: number;
  readonly largestNumber: number;
  readonly dropped: readonly string[];
  readonly flags: Section;
  readonly revisionKind: NumberKind;
  readonly revisions: Section;
  readonly own: Readonly<Record<OwnField, FieldTable>>;
  readonly attributes: readonly (readonly [name: string, field: FieldTable])[];
}

const aligned = (bytes: number): number => Math.ceil(bytes / 8) * 8;

/** The catalogue's state; decoding it gives columns that answer every question the same way. */
export function encodeSnapshot(columns: CatalogueColumns): Uint8Array {
  const { parts } = columns;
  const arrays: ColumnArray[] = [];
  let end = 0; // relative to the first section until the table's length is known
  const section = (array: ColumnArray): Section => {
    const offset = end;
    arrays.push(array);
    end = aligned(end + array.byteLength);
    return { type: array.constructor.name as ArrayName, offset, length: array.length };
  };
  const used = <A extends ColumnArray>(array: A): A => array.subarray(0, parts.largestNumber + 1) as A;
  const fieldTable = (field: Field): FieldTable => {
    const { arena, ends } = field.values.parts;
    return {
      arena: section(arena),
      ends: section(ends),
      ids: section(used(field.ids.array)),
      kind: field.numbers.kind,
      numbers: section(used(field.numbers.array)),
    };
  };

  const table: Table = {
    revision: parts.revision,
    lastNumber: parts.lastNumber,
    largestNumber: parts.largestNumber,
    dropped: [...parts.dropped],
    flags: section(parts.flags),
    revisionKind: parts.revisions.kind,
    revisions: section(used(parts.revisions.array)),
    own: Object.fromEntries(OWN_FIELDS.map((name) => [name, fieldTable(parts.own[name])])) as Record<
      OwnField,
      FieldTable
    >,
    attributes: Array.from(parts.attributes, ([name, field]) => [name, fieldTable(field)] as const),
  };
  const tableBytes = new TextEncoder().encode(JSON.stringify(table));
  const start = aligned(HEADER_BYTES + tableBytes.length);
  const bytes = new Uint8Array(start + end);
  new Uint32Array(bytes.buffer, 0, 4).set([MAGIC, VERSION, bytes.length, tableBytes.length]);
  bytes.set(tableBytes, HEADER_BYTES);
  let at = start;
  for (const array of arrays) {
    bytes.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), at);
    at = aligned(at + array.byteLength);
  }
  return bytes;
}

/**
 * Columns over the bytes themselves, which must not be used for anything else afterwards: later rows are written into them.
 * @throws RangeError when the bytes are cut off, of another format or version, or name a section that is not there
 */
export function decodeSnapshot(bytes: Uint8Array): CatalogueColumns {
  if (bytes.length < HEADER_BYTES) throw new RangeError(`a snapshot of ${bytes.length} bytes`);
  const whole = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice(); // views need their alignment
  const [magic, version, length, tableBytes] = new Uint32Array(
    whole.buffer,
    whole.byteOffset,
    4,
  ) as unknown as number[];
  if (magic !== MAGIC) throw new RangeError("not a catalogue snapshot");
  if (version !== VERSION) throw new RangeError(`snapshot version ${version}, expected ${VERSION}`);
  if (length !== whole.length) throw new RangeError(`a snapshot of ${whole.length} bytes, expected ${length}`);
  if (HEADER_BYTES + tableBytes! > length) throw new RangeError(`a snapshot table of ${tableBytes} bytes`);
  const table = parseTable(whole.subarray(HEADER_BYTES, HEADER_BYTES + tableBytes!));
  const start = aligned(HEADER_BYTES + tableBytes!);

  const view = ({ type, offset, length: count }: Section): ColumnArray => {
    const make = ARRAYS[type];
    const isInside = start + offset + count * (make?.BYTES_PER_ELEMENT ?? 0) <= whole.length;
    if (make === undefined || !isInside || offset % 8 !== 0)
      throw new RangeError("a snapshot section outside the snapshot");
    return new make(whole.buffer as ArrayBuffer, whole.byteOffset + start + offset, count);
  };
  const fieldOf = (field: FieldTable): Field =>
    new Field(
      new Dictionary(view(field.arena) as Uint8Array, view(field.ends) as Uint32Array),
      new IdColumn(view(field.ids) as IdArray),
      new NumberColumn(field.kind, view(field.numbers) as NumberArray),
    );
  return new CatalogueColumns({
    revision: table.revision,
    lastNumber: table.lastNumber,
    largestNumber: table.largestNumber,
    dropped: new Set(table.dropped),
    flags: view(table.flags) as Uint8Array,
    revisions: new NumberColumn(table.revisionKind, view(table.revisions) as NumberArray),
    own: Object.fromEntries(OWN_FIELDS.map((name) => [name, fieldOf(table.own[name])])) as Record<OwnField, Field>,
    attributes: new Map(table.attributes.map(([name, field]) => [name, fieldOf(field)])),
  });
}

function parseTable(bytes: Uint8Array): Table {
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as Table; // written by encodeSnapshot; the object's name holds its hash
  } catch (error) {
    throw new RangeError("a snapshot table that is not JSON", { cause: error });
  }
}
