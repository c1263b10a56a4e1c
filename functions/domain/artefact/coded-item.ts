/** An item that a model's own tokenizer graph coded, and its vector as bytes: float32 scale, then int8 x dim. */

export interface CodedItem {
  readonly number: number;
  /** One code a level. */
  readonly codes: Uint8Array;
  /** vector[i] * scale is the item vector. */
  readonly scale: number;
  readonly vector: Int8Array;
}

/** Below it largest / 127 would be a subnormal float32, with few digits or none. */
const SMALLEST = 127 * 2 ** -126;

/** Symmetric int8: the largest magnitude becomes 127. Zeros, and what is too small for a float32 scale, keep scale 1. */
export function quantise(values: Float32Array): { scale: number; vector: Int8Array } {
  let largest = 0;
  for (const value of values) largest = Math.max(largest, Math.abs(value));
  if (!Number.isFinite(largest)) throw new RangeError("an item vector must be finite");
  const scale = largest < SMALLEST ? 1 : Math.fround(largest / 127);
  return { scale, vector: Int8Array.from(values, (value) => Math.round(value / scale)) };
}

export function encodeVector(item: Pick<CodedItem, "scale" | "vector">): Uint8Array {
  const bytes = new Uint8Array(4 + item.vector.length);
  new DataView(bytes.buffer).setFloat32(0, item.scale, true);
  bytes.set(new Uint8Array(item.vector.buffer, item.vector.byteOffset, item.vector.length), 4);
  return bytes;
}

/** @throws RangeError when the bytes are not those of a vector of `dim` values. */
export function decodeVector(bytes: Uint8Array, dim: number): { scale: number; vector: Int8Array } {
  if (bytes.length !== 4 + dim) throw new RangeError(`an item vector has ${4 + dim} bytes, got ${bytes.length}`);
  const own = bytes.slice();
  return { scale: new DataView(own.buffer).getFloat32(0, true), vector: new Int8Array(own.buffer, 4, dim) };
}
