/**
 * The loops of a forward pass, in AssemblyScript (assemblyscript.org) for WebAssembly with SIMD; `npm run kernels` makes
 * kernels.wasm of it. A new isolate's first call decides the shape: a JavaScript loop runs its first milliseconds in the
 * interpreter, fifty times slower than compiled, these loops do not. Matrices are row-major float32; every pointer is a
 * byte offset into the engine's memory. A row's sums run in the same order whatever its neighbours are.
 */

/** Columns of the right matrix that are multiplied at once: two vectors of four. */
const COLUMNS: i32 = 8;
/** Rows that share each load of the right matrix: eight sums stay in registers. */
const ROWS: i32 = 4;

// @ts-ignore: decorator
@inline
function at(base: usize, index: i32): usize {
  return base + (<usize>index << 2);
}

// @ts-ignore: decorator
@inline
function sumOf(v: v128): f32 {
  return (
    f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3))
  );
}

/**
 * out (rows, columns) = left (rows, depth) . right (depth, columns). With `scales` (columns) the right matrix is int8 and
 * its values are data * scale, else (0) it is float32. `panel` is room for 8 * depth floats: eight columns are unpacked
 * there at a time.
 */
export function multiply(
  left: usize,
  rows: i32,
  depth: i32,
  right: usize,
  scales: usize,
  columns: i32,
  panel: usize,
  out: usize,
): void {
  for (let column = 0; column < columns; column += COLUMNS) {
    const width = min(COLUMNS, columns - column);
    if (width < COLUMNS) unpackRest(right, scales, depth, columns, column, width, panel);
    else if (scales != 0) unpackInt8(right, scales, depth, columns, column, panel);
    else unpackFloats(right, depth, columns, column, panel);
    let row = 0;
    for (; row + ROWS <= rows; row += ROWS) fourRows(left, row, depth, panel, out, columns, column, width);
    for (; row < rows; row++) oneRow(left, row, depth, panel, out, columns, column, width);
  }
}

function unpackInt8(right: usize, scales: usize, depth: i32, columns: i32, column: i32, panel: usize): void {
  const s0 = v128.load(at(scales, column));
  const s1 = v128.load(at(scales, column + 4));
  let from = right + column;
  let to = panel;
  for (let row = 0; row < depth; row++) {
    const words = v128.load_ext<i8>(from);
    v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(words)), s0));
    v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(words)), s1), 16);
    from += columns;
    to += 32;
  }
}

function unpackFloats(right: usize, depth: i32, columns: i32, column: i32, panel: usize): void {
  let from = at(right, column);
  let to = panel;
  for (let row = 0; row < depth; row++) {
    v128.store(to, v128.load(from));
    v128.store(to, v128.load(from, 16), 16);
    from += <usize>columns << 2;
    to += 32;
  }
}

/** The last columns, fewer than eight, filled up with zeros. */
function unpackRest(
  right: usize,
  scales: usize,
  depth: i32,
  columns: i32,
  column: i32,
  width: i32,
  panel: usize,
): void {
  for (let row = 0; row < depth; row++) {
    for (let c = 0; c < COLUMNS; c++) {
      const index = row * columns + column + c;
      let value: f32 = 0;
      if (c < width) {
        value =
          scales != 0 ? <f32>load<i8>(right + index) * load<f32>(at(scales, column + c)) : load<f32>(at(right, index));
      }
      store<f32>(at(panel, row * COLUMNS + c), value);
    }
  }
}

function fourRows(
  left: usize,
  row: i32,
  depth: i32,
  panel: usize,
  out: usize,
  columns: i32,
  column: i32,
  width: i32,
): void {
  const stride = <usize>depth << 2;
  let p0 = left + <usize>row * stride;
  let p1 = p0 + stride;
  let p2 = p1 + stride;
  let p3 = p2 + stride;
  let a0 = f32x4.splat(0);
  let a1 = a0;
  let b0 = a0;
  let b1 = a0;
  let c0 = a0;
  let c1 = a0;
  let d0 = a0;
  let d1 = a0;
  const end = panel + stride * COLUMNS;
  for (let from = panel; from < end; from += 32) {
    const r0 = v128.load(from);
    const r1 = v128.load(from, 16);
    let x = v128.load_splat<f32>(p0);
    a0 = f32x4.add(a0, f32x4.mul(x, r0));
    a1 = f32x4.add(a1, f32x4.mul(x, r1));
    x = v128.load_splat<f32>(p1);
    b0 = f32x4.add(b0, f32x4.mul(x, r0));
    b1 = f32x4.add(b1, f32x4.mul(x, r1));
    x = v128.load_splat<f32>(p2);
    c0 = f32x4.add(c0, f32x4.mul(x, r0));
    c1 = f32x4.add(c1, f32x4.mul(x, r1));
    x = v128.load_splat<f32>(p3);
    d0 = f32x4.add(d0, f32x4.mul(x, r0));
    d1 = f32x4.add(d1, f32x4.mul(x, r1));
    p0 += 4;
    p1 += 4;
    p2 += 4;
    p3 += 4;
  }
  const to = at(out, row * columns + column);
  const step = <usize>columns << 2;
  save(to, a0, a1, width);
  save(to + step, b0, b1, width);
  save(to + 2 * step, c0, c1, width);
  save(to + 3 * step, d0, d1, width);
}

function oneRow(
  left: usize,
  row: i32,
  depth: i32,
  panel: usize,
  out: usize,
  columns: i32,
  column: i32,
  width: i32,
): void {
  let p0 = at(left, row * depth);
  let a0 = f32x4.splat(0);
  let a1 = a0;
  const end = panel + (<usize>depth << 2) * COLUMNS;
  for (let from = panel; from < end; from += 32) {
    const x = v128.load_splat<f32>(p0);
    a0 = f32x4.add(a0, f32x4.mul(x, v128.load(from)));
    a1 = f32x4.add(a1, f32x4.mul(x, v128.load(from, 16)));
    p0 += 4;
  }
  save(at(out, row * columns + column), a0, a1, width);
}

/** Writes the first `width` of eight values. */
function save(to: usize, low: v128, high: v128, width: i32): void {
  if (width == COLUMNS) {
    v128.store(to, low);
    v128.store(to, high, 16);
    return;
  }
  store<f32>(to, f32x4.extract_lane(low, 0));
  if (width > 1) store<f32>(to, f32x4.extract_lane(low, 1), 4);
  if (width > 2) store<f32>(to, f32x4.extract_lane(low, 2), 8);
  if (width > 3) store<f32>(to, f32x4.extract_lane(low, 3), 12);
  if (width > 4) store<f32>(to, f32x4.extract_lane(high, 0), 16);
  if (width > 5) store<f32>(to, f32x4.extract_lane(high, 1), 20);
  if (width > 6) store<f32>(to, f32x4.extract_lane(high, 2), 24);
}

/** out = left + right, of which the right one (period) repeats along the left one (length). */
export function add(left: usize, length: i32, right: usize, period: i32, out: usize): void {
  for (let row = 0; row < length; row += period) {
    let i = 0;
    for (; i + 4 <= period; i += 4) {
      v128.store(at(out, row + i), f32x4.add(v128.load(at(left, row + i)), v128.load(at(right, i))));
    }
    for (; i < period; i++) store<f32>(at(out, row + i), load<f32>(at(left, row + i)) + load<f32>(at(right, i)));
  }
}

/** e^x to 1e-7 of itself, for x <= 88 (expf of the Cephes library); 0 where it would be subnormal. */
function exponential(x: v128): v128 {
  x = f32x4.max(x, f32x4.splat(-87.3));
  const n = f32x4.nearest(f32x4.mul(x, f32x4.splat(1.44269504088896341)));
  let r = f32x4.sub(x, f32x4.mul(n, f32x4.splat(0.693359375)));
  r = f32x4.add(r, f32x4.mul(n, f32x4.splat(2.12194440e-4)));
  let p = f32x4.splat(1.9875691500e-4);
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.3981999507e-3));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(8.3334519073e-3));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(4.1665795894e-2));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.6666665459e-1));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(5.0000001201e-1));
  p = f32x4.add(f32x4.mul(p, f32x4.mul(r, r)), f32x4.add(r, f32x4.splat(1)));
  const power = i32x4.shl(i32x4.add(i32x4.trunc_sat_f32x4_s(n), i32x4.splat(127)), 23);
  return f32x4.mul(p, power);
}

/** x Phi(x). The error function is formula 7.1.26 of Abramowitz and Stegun, off by at most 1.5e-7. */
function geluOf(x: v128): v128 {
  const z = f32x4.mul(f32x4.abs(x), f32x4.splat(0.70710678118654752));
  const t = f32x4.div(f32x4.splat(1), f32x4.add(f32x4.splat(1), f32x4.mul(f32x4.splat(0.3275911), z)));
  let p = f32x4.splat(1.061405429);
  p = f32x4.add(f32x4.mul(p, t), f32x4.splat(-1.453152027));
  p = f32x4.add(f32x4.mul(p, t), f32x4.splat(1.421413741));
  p = f32x4.add(f32x4.mul(p, t), f32x4.splat(-0.284496736));
  p = f32x4.add(f32x4.mul(p, t), f32x4.splat(0.254829592));
  const half = f32x4.mul(
    f32x4.mul(f32x4.mul(p, t), exponential(f32x4.neg(f32x4.mul(z, z)))),
    f32x4.mul(x, f32x4.splat(0.5)),
  );
  return v128.bitselect(f32x4.sub(x, half), half, f32x4.gt(x, f32x4.splat(0)));
}

/** out = gelu(x + bias) of rows of `width` values; no bias where it is 0. */
export function gelu(x: usize, length: i32, bias: usize, width: i32, out: usize): void {
  for (let row = 0; row < length; row += width) {
    let i = 0;
    for (; i + 4 <= width; i += 4) {
      let value = v128.load(at(x, row + i));
      if (bias != 0) value = f32x4.add(value, v128.load(at(bias, i)));
      v128.store(at(out, row + i), geluOf(value));
    }
    for (; i < width; i++) {
      let value = load<f32>(at(x, row + i));
      if (bias != 0) value += load<f32>(at(bias, i));
      store<f32>(at(out, row + i), f32x4.extract_lane(geluOf(f32x4.splat(value)), 0));
    }
  }
}

/** out = layer normalisation of x (rows, width), times gain plus bias. */
export function normalise(
  x: usize,
  rows: i32,
  width: i32,
  gain: usize,
  bias: usize,
  epsilon: f32,
  out: usize,
): void {
  const whole = width & ~3;
  for (let row = 0; row < rows; row++) {
    const from = at(x, row * width);
    const to = at(out, row * width);
    let sums = f32x4.splat(0);
    for (let i = 0; i < whole; i += 4) sums = f32x4.add(sums, v128.load(at(from, i)));
    let sum = sumOf(sums);
    for (let i = whole; i < width; i++) sum += load<f32>(at(from, i));
    const mean = sum / <f32>width;
    const means = f32x4.splat(mean);
    sums = f32x4.splat(0);
    for (let i = 0; i < whole; i += 4) {
      const deviation = f32x4.sub(v128.load(at(from, i)), means);
      sums = f32x4.add(sums, f32x4.mul(deviation, deviation));
    }
    sum = sumOf(sums);
    for (let i = whole; i < width; i++) {
      const deviation = load<f32>(at(from, i)) - mean;
      sum += deviation * deviation;
    }
    const scale: f32 = <f32>1 / sqrt<f32>(sum / <f32>width + epsilon);
    const scales = f32x4.splat(scale);
    for (let i = 0; i < whole; i += 4) {
      const value = f32x4.mul(f32x4.sub(v128.load(at(from, i)), means), scales);
      v128.store(at(to, i), f32x4.add(f32x4.mul(value, v128.load(at(gain, i))), v128.load(at(bias, i))));
    }
    for (let i = whole; i < width; i++) {
      const value = (load<f32>(at(from, i)) - mean) * scale;
      store<f32>(at(to, i), value * load<f32>(at(gain, i)) + load<f32>(at(bias, i)));
    }
  }
}

/**
 * Multi-head attention: query (queries, width), key and value (keys, width), biases added already; out (queries, width).
 * Causal: query i sees keys 0..i. `weights` is room for keys + 3 floats.
 */
export function attend(
  query: usize,
  key: usize,
  value: usize,
  queries: i32,
  keys: i32,
  width: i32,
  heads: i32,
  isCausal: i32,
  scale: f32,
  weights: usize,
  out: usize,
): void {
  const size = width / heads;
  const whole = size & ~3;
  for (let head = 0; head < heads; head++) {
    for (let i = 0; i < queries; i++) {
      const q = at(query, i * width + head * size);
      const to = at(out, i * width + head * size);
      const visible = isCausal ? i + 1 : keys;
      let largest = f32.NEGATIVE_INFINITY;
      for (let j = 0; j < visible; j++) {
        const k = at(key, j * width + head * size);
        let sums = f32x4.splat(0);
        for (let c = 0; c < whole; c += 4) sums = f32x4.add(sums, f32x4.mul(v128.load(at(q, c)), v128.load(at(k, c))));
        let product = sumOf(sums);
        for (let c = whole; c < size; c++) product += load<f32>(at(q, c)) * load<f32>(at(k, c));
        product *= scale;
        store<f32>(at(weights, j), product);
        largest = max(largest, product);
      }
      for (let j = visible; j < visible + 3; j++) store<f32>(at(weights, j), f32.NEGATIVE_INFINITY);
      let total: f32 = 0;
      for (let j = 0; j < visible; j += 4) {
        const four = exponential(f32x4.sub(v128.load(at(weights, j)), f32x4.splat(largest)));
        v128.store(at(weights, j), four);
      }
      for (let j = 0; j < visible; j++) total += load<f32>(at(weights, j));
      for (let c = 0; c < whole; c += 4) {
        let sums = f32x4.splat(0);
        for (let j = 0; j < visible; j++) {
          const v = v128.load(at(value, j * width + head * size + c));
          sums = f32x4.add(sums, f32x4.mul(v128.load_splat<f32>(at(weights, j)), v));
        }
        v128.store(at(to, c), f32x4.div(sums, f32x4.splat(total)));
      }
      for (let c = whole; c < size; c++) {
        let sum: f32 = 0;
        for (let j = 0; j < visible; j++) {
          sum += load<f32>(at(weights, j)) * load<f32>(at(value, j * width + head * size + c));
        }
        store<f32>(at(to, c), sum / total);
      }
    }
  }
}

/** Columns from..from+size of x (rows, width), as a matrix of their own. */
export function copyColumns(x: usize, rows: i32, width: i32, from: i32, size: i32, out: usize): void {
  for (let row = 0; row < rows; row++) {
    memory.copy(at(out, row * size), at(x, row * width + from), <usize>size << 2);
  }
}

/** One row of an int8 weight as floats. */
export function unpackRow(row: usize, scales: usize, width: i32, out: usize): void {
  let i = 0;
  for (; i + 8 <= width; i += 8) {
    const words = v128.load_ext<i8>(row + i);
    const low = f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(words));
    const high = f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(words));
    v128.store(at(out, i), f32x4.mul(low, v128.load(at(scales, i))));
    v128.store(at(out, i + 4), f32x4.mul(high, v128.load(at(scales, i + 4))));
  }
  for (; i < width; i++) store<f32>(at(out, i), <f32>load<i8>(row + i) * load<f32>(at(scales, i)));
}
