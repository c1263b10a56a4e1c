/** The wire format of Protocol Buffers (protobuf.dev/programming-guides/encoding), as far as reading a message takes. */
import { GraphError } from "../graph-error.ts";

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;
/** A varint carries 64 bits, seven a byte. */
const MAX_VARINT_BYTES = 10;

const text = new TextDecoder();

/**
 * The fields of one message, one after the other: `while (reader.next())` gives the number of each, whose value one of the
 * other methods reads; a field that none reads is passed over. @throws GraphError for bytes that are no message
 */
export class MessageReader {
  readonly #bytes: Uint8Array;
  #at = 0;
  #type = -1; // wire type of a value that is still to be read
  /** Number of the present field. */
  field = 0;

  constructor(message: Uint8Array) {
    this.#bytes = message;
  }

  /** Goes on to the next field; false at the end. */
  next(): boolean {
    if (this.#type !== -1) this.#skip();
    if (this.#at === this.#bytes.length) return false;
    const tag = this.#varint();
    this.field = Math.floor(tag / 8);
    this.#type = tag & 7;
    if (this.field < 1) throw new GraphError(`field number ${this.field}`);
    return true;
  }

  message(): Uint8Array {
    this.#expect(BYTES);
    return this.#take(this.#varint());
  }

  text(): string {
    return text.decode(this.message());
  }

  integer(): number {
    this.#expect(VARINT);
    return this.#varint();
  }

  float(): number {
    this.#expect(FIXED32);
    const bytes = this.#take(4);
    return new DataView(bytes.buffer, bytes.byteOffset, 4).getFloat32(0, true);
  }

  /** Values of a repeated integer, of which a field holds one, or all of them packed. */
  integers(): number[] {
    if (this.#type === VARINT) return [this.integer()];
    const packed = new MessageReader(this.message());
    const values: number[] = [];
    while (packed.#at < packed.#bytes.length) values.push(packed.#varint());
    return values;
  }

  #expect(type: number): void {
    if (this.#type !== type) throw new GraphError(`field ${this.field} has wire type ${this.#type}, not ${type}`);
    this.#type = -1;
  }

  #skip(): void {
    const type = this.#type;
    this.#type = -1;
    if (type === VARINT) this.#varint();
    else if (type === BYTES) this.#take(this.#varint());
    else if (type === FIXED32) this.#take(4);
    else if (type === FIXED64) this.#take(8);
    else throw new GraphError(`wire type ${type}`);
  }

  /** 64 bits in two's complement; exact up to 2^53, larger ones lose their last bits. */
  #varint(): number {
    const first = this.#bytes[this.#at];
    if (first !== undefined && first < 0x80) {
      this.#at += 1;
      return first;
    }
    let low = 0; // 28 bits
    let high = 0; // the other 36
    for (let count = 0; count < MAX_VARINT_BYTES; count++) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw new GraphError("the file ends inside a number");
      if (count < 4) low += (byte & 0x7f) * 2 ** (7 * count);
      else high += (byte & 0x7f) * 2 ** (7 * (count - 4));
      if (byte >= 0x80) continue;
      high %= 2 ** 36;
      return (high >= 2 ** 35 ? high - 2 ** 36 : high) * 2 ** 28 + low;
    }
    throw new GraphError("a number of more than ten bytes");
  }

  #take(length: number): Uint8Array {
    const end = this.#at + length;
    if (!(length >= 0 && end <= this.#bytes.length)) throw new GraphError("the file ends inside a field");
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }
}
