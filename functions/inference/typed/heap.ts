/**
 * The memory of one network: its constants, and above them the values of the run that is under way. The kernels work on
 * it in place, so nothing is copied between nodes.
 */
import { GraphError } from "../graph-error.ts";

const PAGE_BYTES = 65_536; // of WebAssembly
/** One network may take this much: what needs more is a broken graph. */
const MAX_BYTES = 64 * 1024 * 1024;
const ALIGNMENT = 16;

/** The exports of kernels.wasm (see kernels.as); pointers are byte offsets into the heap. */
export interface Kernels {
  multiply(
    left: number,
    rows: number,
    depth: number,
    right: number,
    scales: number,
    columns: number,
    panel: number,
    out: number,
  ): void;
  add(left: number, length: number, right: number, period: number, out: number): void;
  gelu(x: number, length: number, bias: number, width: number, out: number): void;
  normalise(x: number, rows: number, width: number, gain: number, bias: number, epsilon: number, out: number): void;
  attend(
    query: number,
    key: number,
    value: number,
    queries: number,
    keys: number,
    width: number,
    heads: number,
    isCausal: number,
    scale: number,
    weights: number,
    out: number,
  ): void;
  copyColumns(x: number, rows: number, width: number, from: number, size: number, out: number): void;
  unpackRow(row: number, scales: number, width: number, out: number): void;
}

export class Heap {
  readonly kernels: Kernels;
  readonly #memory: WebAssembly.Memory;
  #bytes: Uint8Array;
  #floats: Float32Array;
  #end = ALIGNMENT; // offset 0 stands for "none"

  /** @param module kernels.wasm, compiled; `expected` bytes are there at once, more come as they are needed */
  constructor(module: WebAssembly.Module, expected = 0) {
    const maximum = MAX_BYTES / PAGE_BYTES;
    this.#memory = new WebAssembly.Memory({
      initial: Math.min(maximum, Math.ceil(expected / PAGE_BYTES) + 1),
      maximum,
    });
    this.#bytes = new Uint8Array(this.#memory.buffer);
    this.#floats = new Float32Array(this.#memory.buffer);
    const { exports } = new WebAssembly.Instance(module, { env: { memory: this.#memory } });
    this.kernels = exports as unknown as Kernels;
  }

  /** Bytes that are held: memory grows and never shrinks. */
  get bytes(): number {
    return this.#memory.buffer.byteLength;
  }

  /** Where the next value goes; hand it to `reset` to give back all that was taken since. */
  get end(): number {
    return this.#end;
  }

  reset(end: number): void {
    this.#end = end;
  }

  /** Room for so many bytes, holding anything. @throws GraphError where the network would take more than 64 MB */
  take(bytes: number): number {
    const at = this.#end;
    const end = at + Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
    if (!(end <= MAX_BYTES)) throw new GraphError(`a graph that needs more than ${MAX_BYTES} bytes`);
    if (end > this.bytes) {
      const wanted = Math.min(MAX_BYTES, Math.max(end, 2 * this.bytes));
      this.#memory.grow(Math.ceil((wanted - this.bytes) / PAGE_BYTES));
      this.#bytes = new Uint8Array(this.#memory.buffer);
      this.#floats = new Float32Array(this.#memory.buffer);
    }
    this.#end = end;
    return at;
  }

  takeFloats(length: number): number {
    return this.take(4 * length);
  }

  /** A copy of the values or bytes, on the heap. */
  put(values: Float32Array | Uint8Array): number {
    const at = this.take(values.byteLength);
    if (values instanceof Float32Array) this.#floats.set(values, at / 4);
    else this.#bytes.set(values, at);
    return at;
  }

  /** A copy of floats of the heap. */
  floats(at: number, length: number): Float32Array {
    return this.#floats.slice(at / 4, at / 4 + length);
  }

  /** Moves `length` floats. */
  copy(from: number, to: number, length: number): void {
    this.#floats.copyWithin(to / 4, from / 4, from / 4 + length);
  }
}
