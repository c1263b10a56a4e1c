/** Reads the graph out of an ONNX file (onnx.proto3): nodes, attributes, initialisers; nothing of it is run here. */
import { GraphError } from "../graph-error.ts";
import { MessageReader } from "./protobuf.ts";

/** Versions of the standard operators whose meaning operators.ts has. */
const OPSETS = { from: 17, to: 21 };

const ELEMENT = { float: 1, int8: 3, int32: 6, int64: 7 } as const;
/** Bytes of a value in raw_data. */
const WIDTHS = new Map<number, number>([
  [ELEMENT.float, 4],
  [ELEMENT.int8, 1],
  [ELEMENT.int32, 4],
  [ELEMENT.int64, 8],
]);

interface Named {
  readonly name: string;
  readonly dims: readonly number[];
}

/** Floats and int8 are bytes of the file, little-endian. int64 comes as int32, cut to its range: it holds shapes and positions. */
export type OnnxTensor = Named &
  (
    | { readonly type: "float" | "int8"; readonly data: Uint8Array }
    | { readonly type: "integers"; readonly data: Int32Array }
  );

export type Attribute = number | readonly number[];

export interface OnnxNode {
  /** The operator, behind its domain where that is not ONNX's own: "MatMul", "com.microsoft.Gelu". */
  readonly operator: string;
  /** Names of values; "" for one that is left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, Attribute>;
}

export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[];
  readonly initialisers: readonly OnnxTensor[];
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/** @throws GraphError for bytes that are no ONNX model, or one of other operator versions. */
export function readOnnx(bytes: Uint8Array): OnnxGraph {
  let graph: OnnxGraph | undefined;
  let opset = 0;
  const reader = new MessageReader(bytes);
  while (reader.next()) {
    if (reader.field === 7) graph = readGraph(reader.message());
    else if (reader.field === 8) opset = Math.max(opset, standardOpset(reader.message()));
  }
  if (graph === undefined) throw new GraphError("the file has no graph");
  if (opset < OPSETS.from || opset > OPSETS.to) {
    throw new GraphError(`opset ${opset} is not ${OPSETS.from} to ${OPSETS.to}`);
  }
  return graph;
}

const isStandard = (domain: string) => domain === "" || domain === "ai.onnx";

/** Version of an OperatorSetIdProto of ONNX's own domain; 0 for another one's. */
function standardOpset(message: Uint8Array): number {
  let domain = "";
  let version = 0;
  const reader = new MessageReader(message);
  while (reader.next()) {
    if (reader.field === 1) domain = reader.text();
    else if (reader.field === 2) version = reader.integer();
  }
  return isStandard(domain) ? version : 0;
}

function readGraph(message: Uint8Array): OnnxGraph {
  const nodes: OnnxNode[] = [];
  const initialisers: OnnxTensor[] = [];
  const inputs: string[] = [];
  const outputs: string[] = [];
  const reader = new MessageReader(message);
  while (reader.next()) {
    if (reader.field === 1) nodes.push(readNode(reader.message()));
    else if (reader.field === 5) initialisers.push(readTensor(reader.message()));
    else if (reader.field === 11) inputs.push(nameOf(reader.message()));
    else if (reader.field === 12) outputs.push(nameOf(reader.message()));
    else if (reader.field === 15) throw new GraphError("sparse initialisers");
  }
  return { nodes, initialisers, inputs, outputs };
}

/** Name of a ValueInfoProto. */
function nameOf(message: Uint8Array): string {
  const reader = new MessageReader(message);
  while (reader.next()) if (reader.field === 1) return reader.text();
  throw new GraphError("a value without a name");
}

function readNode(message: Uint8Array): OnnxNode {
  let operator = "";
  let domain = "";
  const inputs: string[] = [];
  const outputs: string[] = [];
  const attributes = new Map<string, Attribute>();
  const reader = new MessageReader(message);
  while (reader.next()) {
    if (reader.field === 1) inputs.push(reader.text());
    else if (reader.field === 2) outputs.push(reader.text());
    else if (reader.field === 4) operator = reader.text();
    else if (reader.field === 5) attributes.set(...readAttribute(reader.message()));
    else if (reader.field === 7) domain = reader.text();
  }
  return { operator: isStandard(domain) ? operator : `${domain}.${operator}`, inputs, outputs, attributes };
}

/** Numbers and lists of integers; another kind of attribute belongs to no operator that is run here. */
function readAttribute(message: Uint8Array): [name: string, value: Attribute] {
  let name = "";
  let single: number | undefined;
  const list: number[] = [];
  const reader = new MessageReader(message);
  while (reader.next()) {
    if (reader.field === 1) name = reader.text();
    else if (reader.field === 2) single = reader.float();
    else if (reader.field === 3) single = reader.integer();
    else if (reader.field === 8) list.push(...reader.integers());
    else if (reader.field >= 4 && reader.field <= 14) throw new GraphError(`attribute ${name} is of another kind`);
  }
  return [name, single ?? list];
}

function readTensor(message: Uint8Array): OnnxTensor {
  const dims: number[] = [];
  let name = "";
  let type = 0;
  let raw: Uint8Array = new Uint8Array(0);
  const reader = new MessageReader(message);
  while (reader.next()) {
    if (reader.field === 1) dims.push(...reader.integers());
    else if (reader.field === 2) type = reader.integer();
    else if (reader.field === 8) name = reader.text();
    else if (reader.field === 9) raw = reader.message();
  }
  const size = dims.reduce((product, dim) => product * dim, 1);
  if (!dims.every((dim) => dim >= 0) || !Number.isSafeInteger(size)) {
    throw new GraphError(`initialiser ${name} has shape (${dims.join(", ")})`);
  }
  const width = WIDTHS.get(type);
  if (width === undefined) throw new GraphError(`initialiser ${name} has element type ${type}`);
  if (raw.length !== size * width) {
    throw new GraphError(`initialiser ${name} has ${raw.length} bytes for ${size} values`);
  }
  if (type === ELEMENT.float) return { name, dims, type: "float", data: raw };
  if (type === ELEMENT.int8) return { name, dims, type: "int8", data: raw };
  const view = new DataView(raw.buffer, raw.byteOffset, raw.length);
  const data = Int32Array.from({ length: size }, (_, at) =>
    width === 4 ? view.getInt32(4 * at, true) : narrowed(view.getInt32(8 * at, true), view.getInt32(8 * at + 4, true)),
  );
  return { name, dims, type: "integers", data };
}

/** The two halves of an int64 as int32, cut to its range. */
function narrowed(low: number, high: number): number {
  if (high === low >> 31) return low;
  return high < 0 ? -(2 ** 31) : 2 ** 31 - 1;
}
