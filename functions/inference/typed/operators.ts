/**
 * The operators that the decoding graphs are made of (training/graphs.py). A node that asks for more than its operator does
 * here is refused, never run differently: the runtime then runs the graph.
 */
import { GraphError } from "../graph-error.ts";
import type { Heap } from "./heap.ts";
import type { Attribute } from "./onnx-model.ts";
import { type Floats, type Quantised, sizeOf, type Value } from "./values.ts";

/** What a node works on. */
export interface Call {
  readonly operator: string;
  readonly inputs: readonly (Value | undefined)[];
  readonly attributes: ReadonlyMap<string, Attribute>;
  readonly heap: Heap;
}

/** The node's outputs, undefined for one that this operator does not give. */
export type Operator = (call: Call) => readonly (Value | undefined)[];

const FLOAT = 1; // TensorProto.DataType

function refuse(call: Call, why: string): never {
  throw new GraphError(`${call.operator}: ${why}`);
}

const shapeText = (dims: readonly number[]) => `(${dims.join(", ")})`;

function given(call: Call, at: number): Value {
  return call.inputs[at] ?? refuse(call, `input ${at} is missing`);
}

function floatsAt(call: Call, at: number): Floats {
  const value = given(call, at);
  return value.kind === "floats" ? value : refuse(call, `input ${at} is ${value.kind}, not floats`);
}

function integersAt(call: Call, at: number): Int32Array {
  const value = given(call, at);
  return value.kind === "integers" ? value.data : refuse(call, `input ${at} is ${value.kind}, not integers`);
}

/** Offset of a vector of `length` values. */
function vectorAt(call: Call, at: number, length: number): number {
  const value = floatsAt(call, at);
  const size = sizeOf(value.dims);
  return size === length ? value.at : refuse(call, `input ${at} has ${size} values, not ${length}`);
}

/** The same, 0 where the input is left out. */
const vectorOrNone = (call: Call, at: number, length: number): number =>
  call.inputs[at] === undefined ? 0 : vectorAt(call, at, length);

function numberOf(call: Call, name: string, otherwise: number): number {
  const value = call.attributes.get(name) ?? otherwise;
  return typeof value === "number" ? value : refuse(call, `${name} is a list`);
}

/** An axis from 0, given from either end. */
function axisOf(call: Call, axis: number, rank: number): number {
  const place = axis < 0 ? axis + rank : axis;
  return place >= 0 && place < rank ? place : refuse(call, `axis ${axis} of ${rank}`);
}

const lastOf = (dims: readonly number[]): number => dims.at(-1) ?? 1;

const floats = (dims: readonly number[], at: number): Floats => ({ kind: "floats", dims, at });

/** Of an int8 weight, which stays int8; its scales come with the product that follows. */
const cast: Operator = (call) => {
  const value = given(call, 0);
  if (value.kind !== "quantised" || numberOf(call, "to", 0) !== FLOAT) refuse(call, "other than int8 to float32");
  return [value];
};

/** Of an int8 weight with its scales, one a column. */
const mul: Operator = (call) => {
  const weight = given(call, 0);
  if (weight.kind !== "quantised" || weight.scales !== 0) return refuse(call, "of something other than an int8 weight");
  return [{ ...weight, scales: vectorAt(call, 1, lastOf(weight.dims)) }];
};

/** A matrix of known values. */
function weightAt(call: Call, at: number): Floats | Quantised {
  const value = given(call, at);
  const isMatrix = value.kind !== "integers" && value.dims.length === 2;
  if (!isMatrix || (value.kind === "quantised" && value.scales === 0)) return refuse(call, `input ${at} is no matrix`);
  return value;
}

const matMul: Operator = (call) => {
  const { heap } = call;
  const left = floatsAt(call, 0);
  const right = weightAt(call, 1);
  const [depth, columns] = right.dims as readonly [number, number];
  if (left.dims.length < 2 || lastOf(left.dims) !== depth) {
    refuse(call, `shapes ${shapeText(left.dims)} and ${shapeText(right.dims)}`);
  }
  const rows = sizeOf(left.dims.slice(0, -1));
  const out = heap.takeFloats(rows * columns);
  const mark = heap.end;
  const panel = heap.takeFloats(8 * depth);
  const scales = right.kind === "quantised" ? right.scales : 0;
  heap.kernels.multiply(left.at, rows, depth, right.at, scales, columns, panel, out);
  heap.reset(mark);
  return [floats([...left.dims.slice(0, -1), columns], out)];
};

/** The shape of a sum in which the smaller value repeats along the last dimensions of the larger one. */
function sumShape(call: Call, longer: Floats, shorter: Floats): readonly number[] {
  const first = shorter.dims.findIndex((dim) => dim !== 1);
  const core = first === -1 ? [] : shorter.dims.slice(first);
  const tail = longer.dims.slice(longer.dims.length - core.length);
  if (core.length > longer.dims.length || core.some((dim, at) => dim !== tail[at])) {
    refuse(call, `shapes ${shapeText(longer.dims)} and ${shapeText(shorter.dims)}`);
  }
  const missing = Math.max(0, shorter.dims.length - longer.dims.length);
  return [...Array.from({ length: missing }, () => 1), ...longer.dims];
}

const add: Operator = (call) => {
  const [a, b] = [floatsAt(call, 0), floatsAt(call, 1)];
  const [longer, shorter] = sizeOf(a.dims) >= sizeOf(b.dims) ? [a, b] : [b, a];
  const dims = sumShape(call, longer, shorter);
  const out = call.heap.takeFloats(sizeOf(dims));
  call.heap.kernels.add(longer.at, sizeOf(dims), shorter.at, sizeOf(shorter.dims), out);
  return [floats(dims, out)];
};

/** Of the first input plus a bias, where there is a second. */
const gelu: Operator = (call) => {
  const x = floatsAt(call, 0);
  const width = lastOf(x.dims);
  const out = call.heap.takeFloats(sizeOf(x.dims));
  call.heap.kernels.gelu(x.at, sizeOf(x.dims), vectorOrNone(call, 1, width), width, out);
  return [floats(x.dims, out)];
};

/** `gain` is the place of the gain among the inputs, before the bias. */
function normalised(call: Call, x: Floats, gain: number, epsilon: number): Floats {
  const width = lastOf(x.dims);
  const out = call.heap.takeFloats(sizeOf(x.dims));
  const [scale, shift] = [vectorAt(call, gain, width), vectorAt(call, gain + 1, width)];
  call.heap.kernels.normalise(x.at, sizeOf(x.dims) / width, width, scale, shift, epsilon, out);
  return floats(x.dims, out);
}

const layerNormalization: Operator = (call) => {
  const x = floatsAt(call, 0);
  const axis = axisOf(call, numberOf(call, "axis", -1), x.dims.length);
  if (axis !== x.dims.length - 1) refuse(call, "over more than the last axis");
  return [normalised(call, x, 1, numberOf(call, "epsilon", 1e-5))];
};

/** Inputs x, skip, gain, bias, bias of x. Gives the normalised sum and, fourth, the sum. */
const skipLayerNormalization: Operator = (call) => {
  const { kernels } = call.heap;
  const [x, skip] = [floatsAt(call, 0), floatsAt(call, 1)];
  const [size, width] = [sizeOf(x.dims), lastOf(x.dims)];
  if (sizeOf(skip.dims) !== size || lastOf(skip.dims) !== width) {
    refuse(call, `shapes ${shapeText(x.dims)} and ${shapeText(skip.dims)}`);
  }
  const sum = floats(x.dims, call.heap.takeFloats(size));
  kernels.add(x.at, size, skip.at, size, sum.at);
  const bias = vectorOrNone(call, 4, width);
  if (bias !== 0) kernels.add(sum.at, size, bias, width, sum.at);
  // a node without the attribute means 1e-12, the operator's own default
  return [normalised(call, sum, 2, numberOf(call, "epsilon", 1e-12)), undefined, undefined, sum];
};

/** Inputs query, key, value of one sequence, and their biases in one vector; no mask, no past. */
const multiHeadAttention: Operator = (call) => {
  const { heap } = call;
  const [query, key, value] = [floatsAt(call, 0), floatsAt(call, 1), floatsAt(call, 2)];
  const width = lastOf(query.dims);
  const [queries, keys] = [query.dims[1]!, key.dims[1]!];
  const heads = numberOf(call, "num_heads", 0);
  const isCausal = numberOf(call, "unidirectional", 0) === 1;
  for (const { dims } of [query, key, value]) {
    if (dims.length !== 3 || dims[0] !== 1 || dims[2] !== width) refuse(call, `shape ${shapeText(dims)}`);
  }
  if (keys !== value.dims[1]) refuse(call, "keys and values of different length");
  if (isCausal && keys !== queries) refuse(call, "causal over another length than the queries'");
  if (!(heads >= 1) || width % heads !== 0) refuse(call, `${heads} heads of ${width} values`);
  if (call.inputs.slice(4).some((input) => input !== undefined)) refuse(call, "a mask or a past");
  const bias = vectorOrNone(call, 3, 3 * width);
  const biased = ({ at, dims }: Floats, part: number): number => {
    if (bias === 0) return at;
    const sum = heap.takeFloats(sizeOf(dims));
    heap.kernels.add(at, sizeOf(dims), bias + 4 * part * width, width, sum);
    return sum;
  };
  const parts = [biased(query, 0), biased(key, 1), biased(value, 2)] as const;
  const scale = numberOf(call, "scale", 0) || 1 / Math.sqrt(width / heads); // 0 stands for the default
  const weights = heap.takeFloats(keys + 3);
  const out = heap.takeFloats(queries * width);
  heap.kernels.attend(...parts, queries, keys, width, heads, isCausal ? 1 : 0, scale, weights, out);
  return [floats(query.dims, out)];
};

const shape: Operator = (call) => {
  const { dims } = given(call, 0);
  const data = Int32Array.from(dims.slice(numberOf(call, "start", 0), numberOf(call, "end", dims.length)));
  return [{ kind: "integers", dims: [data.length], data }];
};

/** Along the first axis alone, step 1: a part of the same memory. */
const slice: Operator = (call) => {
  const x = floatsAt(call, 0);
  const lists = [1, 2, 3, 4].map((at) => (at > 2 && call.inputs[at] === undefined ? [at - 3] : integersAt(call, at)));
  const [start, end, axis, step] = lists.map((list) => list[0]);
  const rows = x.dims[0];
  if (rows === undefined || lists.some((list) => list.length !== 1) || axis !== 0 || step !== 1) {
    return refuse(call, "along another axis than the first");
  }
  const place = (index: number) => Math.min(Math.max(index < 0 ? index + rows : index, 0), rows);
  const from = place(start!);
  const to = Math.max(from, place(end!));
  return [floats([to - from, ...x.dims.slice(1)], x.at + 4 * from * sizeOf(x.dims.slice(1)))];
};

/** Along the last axis alone, into the given sizes or into equal parts. */
const split: Operator = (call) => {
  const { heap } = call;
  const x = floatsAt(call, 0);
  const width = lastOf(x.dims);
  const parts = numberOf(call, "num_outputs", 0);
  if (call.inputs[1] === undefined && !(parts >= 1 && width % parts === 0)) refuse(call, `${width} values in ${parts}`);
  const sizes = call.inputs[1] === undefined ? new Int32Array(parts).fill(width / parts) : integersAt(call, 1);
  if (axisOf(call, numberOf(call, "axis", 0), x.dims.length) !== x.dims.length - 1) refuse(call, "not the last axis");
  if (sizes.some((size) => size < 1) || sizes.reduce((sum, size) => sum + size, 0) !== width) {
    refuse(call, `${width} values into ${sizes.join(", ")}`);
  }
  const rows = sizeOf(x.dims) / width;
  let from = 0;
  return Array.from(sizes, (size) => {
    const out = heap.takeFloats(rows * size);
    heap.kernels.copyColumns(x.at, rows, width, from, size, out);
    from += size;
    return floats([...x.dims.slice(0, -1), size], out);
  });
};

/** Along one axis; of an int8 weight its rows. */
const gather: Operator = (call) => {
  const { heap } = call;
  const from = given(call, 0);
  const places = given(call, 1);
  if (places.kind !== "integers") return refuse(call, "the places are no integers");
  const axis = axisOf(call, numberOf(call, "axis", 0), from.dims.length);
  if (from.kind === "quantised" && (axis !== 0 || from.scales === 0))
    return refuse(call, "of an int8 weight's columns");
  const blocks = sizeOf(from.dims.slice(0, axis));
  const along = from.dims[axis]!;
  const width = sizeOf(from.dims.slice(axis + 1));
  const dims = [...from.dims.slice(0, axis), ...places.dims, ...from.dims.slice(axis + 1)];
  const rows = Array.from({ length: blocks * places.data.length }, (_, row) => {
    const place = places.data[row % places.data.length]!;
    if (place < -along || place >= along) refuse(call, `place ${place} of ${along}`);
    return Math.floor(row / places.data.length) * along + (place < 0 ? place + along : place);
  });
  if (from.kind === "integers") {
    const data = Int32Array.from(rows.flatMap((row) => [...from.data.subarray(row * width, (row + 1) * width)]));
    return [{ kind: "integers", dims, data }];
  }
  const out = heap.takeFloats(sizeOf(dims));
  for (const [to, row] of rows.entries()) {
    if (from.kind === "floats") heap.copy(from.at + 4 * row * width, out + 4 * to * width, width);
    else heap.kernels.unpackRow(from.at + row * width, from.scales, width, out + 4 * to * width);
  }
  return [floats(dims, out)];
};

/** Along the last axis alone. */
const concat: Operator = (call) => {
  const { heap } = call;
  const parts = call.inputs.map((_, at) => floatsAt(call, at));
  const before = parts[0]?.dims.slice(0, -1) ?? [];
  const rows = sizeOf(before);
  if (axisOf(call, numberOf(call, "axis", 0), before.length + 1) !== before.length) refuse(call, "not the last axis");
  if (parts.some(({ dims }) => String(dims.slice(0, -1)) !== String(before))) refuse(call, "of different shapes");
  const width = parts.reduce((sum, { dims }) => sum + lastOf(dims), 0);
  const out = heap.takeFloats(rows * width);
  let from = 0;
  for (const { at, dims } of parts) {
    const size = lastOf(dims);
    for (let row = 0; row < rows; row++) heap.copy(at + 4 * row * size, out + 4 * (row * width + from), size);
    from += size;
  }
  return [floats([...before, width], out)];
};

/** The same memory under other dimensions. */
const reshape: Operator = (call) => {
  const x = floatsAt(call, 0);
  const size = sizeOf(x.dims);
  const wanted = Array.from(integersAt(call, 1), (dim, at) => (dim === 0 ? (x.dims[at] ?? 0) : dim));
  const rest = sizeOf(wanted.filter((dim) => dim !== -1));
  const dims = wanted.map((dim) => (dim === -1 ? size / rest : dim));
  if (!dims.every((dim) => Number.isInteger(dim) && dim >= 0) || sizeOf(dims) !== size) {
    refuse(call, `${shapeText(x.dims)} into ${shapeText(wanted)}`);
  }
  return [floats(dims, x.at)];
};

const squeeze: Operator = (call) => {
  const x = floatsAt(call, 0);
  const axes = Array.from(integersAt(call, 1), (axis) => axisOf(call, axis, x.dims.length));
  if (axes.some((axis) => x.dims[axis] !== 1)) refuse(call, `axes ${axes.join(", ")} of ${shapeText(x.dims)}`);
  const dims = x.dims.filter((_, axis) => !axes.includes(axis));
  return [floats(dims, x.at)];
};

/** Of a single row or column, whose values stay where they are. */
const transpose: Operator = (call) => {
  const x = floatsAt(call, 0);
  if (x.dims.length !== 2 || !x.dims.includes(1) || String(call.attributes.get("perm") ?? "1,0") !== "1,0") {
    refuse(call, `of ${shapeText(x.dims)}`);
  }
  return [floats(x.dims.toReversed(), x.at)];
};

const identity: Operator = (call) => [given(call, 0)];

export const OPERATORS: ReadonlyMap<string, Operator> = new Map([
  ["Add", add],
  ["Cast", cast],
  ["Concat", concat],
  ["Gather", gather],
  ["Gelu", gelu], // its approximate form has an attribute that onnx-model.ts refuses
  ["Identity", identity],
  ["LayerNormalization", layerNormalization],
  ["MatMul", matMul],
  ["Mul", mul],
  ["Reshape", reshape],
  ["Shape", shape],
  ["Slice", slice],
  ["Split", split],
  ["Squeeze", squeeze],
  ["Transpose", transpose],
  ["com.microsoft.BiasGelu", gelu],
  ["com.microsoft.Gelu", gelu],
  ["com.microsoft.MultiHeadAttention", multiHeadAttention],
  ["com.microsoft.SkipLayerNormalization", skipLayerNormalization],
]);
