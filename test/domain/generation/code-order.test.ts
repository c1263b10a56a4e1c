import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { buildCodeOrder } from "../../../functions/domain/generation/code-order.ts";

const catalogues = fc
  .record({
    levels: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 2, maxLength: 3 }),
    numbers: fc.uniqueArray(fc.oneof(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 4_000_000_000 })), {
      maxLength: 50,
    }),
    dead: fc.oneof(fc.constant<number[]>([]), fc.array(fc.nat(50))),
    isSorted: fc.boolean(),
    seed: fc.array(fc.nat(255), { minLength: 150, maxLength: 150 }),
  })
  .map(({ levels, numbers, dead, isSorted, seed }) => {
    const rows = numbers.map((_, row) => levels.map((size, level) => seed[3 * row + level]! % size));
    if (isSorted) rows.sort(byCodes);
    const codes = Uint8Array.from(rows.flat());
    return { levels, codes, numbers: Uint32Array.from(numbers, (number, row) => (dead.includes(row) ? 0 : number)) };
  });

function byCodes(a: readonly number[], b: readonly number[]): number {
  return a.map((code, level) => code - b[level]!).find((gap) => gap !== 0) ?? 0;
}

/** Codes and row of the rows that count, sorted by comparing; `sort` is stable. */
function sorted(levels: readonly number[], codes: Uint8Array, numbers: Uint32Array): { key: number[]; row: number }[] {
  return [...numbers.keys()]
    .filter((row) => numbers[row] !== 0)
    .map((row) => ({ key: [...codes.subarray(row * levels.length, (row + 1) * levels.length)], row }))
    .sort((a, b) => byCodes(a.key, b.key));
}

describe("code order", () => {
  it("is the order of sorting by codes, equal ones as they came and dead rows left out", () => {
    fc.assert(
      fc.property(catalogues, ({ levels, codes, numbers }) => {
        const { order, rowOfPlace } = buildCodeOrder(levels, codes, numbers);
        const expected = sorted(levels, codes, numbers).map(({ row }) => row);
        expect([...(rowOfPlace ?? numbers.keys())]).toEqual(expected);
        expect([...order.numbers]).toEqual(expected.map((row) => numbers[row]));
      }),
    );
  });

  it("moves nothing where every row stands in it already", () => {
    const numbers = Uint32Array.of(9, 4, 7, 5);
    const { order, rowOfPlace } = buildCodeOrder([2, 2], Uint8Array.of(0, 1, 0, 1, 1, 0, 1, 1), numbers);
    expect(rowOfPlace).toBeNull();
    expect(order.numbers).toBe(numbers);
    expect(buildCodeOrder([2, 2], Uint8Array.of(0, 1, 1, 1, 1, 0), Uint32Array.of(9, 4, 7)).rowOfPlace).toEqual(
      Uint32Array.of(0, 2, 1),
    );
  });

  it("gives each prefix the range of exactly its items, through range and through children alike", () => {
    fc.assert(
      fc.property(catalogues, ({ levels, codes, numbers }) => {
        const { order } = buildCodeOrder(levels, codes, numbers);
        const rows = sorted(levels, codes, numbers);
        const visit = (prefix: readonly number[]): void => {
          const members = rows.flatMap(({ key }, place) =>
            prefix.every((code, at) => key[at] === code) ? [place] : [],
          );
          const [from, to] = order.range(prefix);
          expect(to - from).toBe(members.length);
          if (members.length > 0) expect([from, to - 1]).toEqual([members[0], members.at(-1)]);
          if (prefix.length === levels.length) return;
          const bounds = new Uint32Array(levels[prefix.length]! + 1);
          // not at the start of the array: a beam stands somewhere in a batch
          order.children(Int32Array.of(9, 9, ...prefix), 2, prefix.length, bounds);
          for (let code = 0; code < levels[prefix.length]!; code += 1) {
            expect([bounds[code], bounds[code + 1]]).toEqual([...order.range([...prefix, code])]);
            visit([...prefix, code]);
          }
        };
        visit([]);
      }),
      { numRuns: 50 },
    );
  });

  it("finds the place of every number, dense or sparse, and -1 for others", () => {
    fc.assert(
      fc.property(catalogues, fc.nat(70), ({ levels, codes, numbers }, other) => {
        const { order } = buildCodeOrder(levels, codes, numbers);
        for (const [place, number] of order.numbers.entries()) expect(order.placeOf(number)).toBe(place);
        if (!numbers.includes(other)) expect(order.placeOf(other)).toBe(-1);
        expect(order.placeOf(0)).toBe(-1);
        expect(order.placeOf(4_294_967_295)).toBe(-1);
      }),
    );
  });

  it("costs 5.5 bytes an item and the way back 4, plus the offsets, and builds a million without comparing", () => {
    const size = 1_000_000;
    const numbers = Uint32Array.from({ length: size }, (_, row) => size - row); // descending: the hard way
    const codes = Uint8Array.from({ length: 2 * size }, (_, at) => (Math.imul(at + 1, 0x9e3779b1) >>> 24) & 0xff);
    const before = performance.now();
    const { order } = buildCodeOrder([256, 256], codes, numbers);
    const elapsedMs = performance.now() - before;
    expect(order.bytes).toBeLessThan(8 * size + 4 * 65_537 + 8);
    expect(elapsedMs).toBeLessThan(1000); // some 40 ms on an idle core; sorting with a comparator takes seconds
  });

  it("refuses codes out of range, lengths that do not fit and other numbers of levels", () => {
    expect(() => buildCodeOrder([2, 2], Uint8Array.of(0, 2), Uint32Array.of(1))).toThrow(/code 2 at level 2/);
    expect(() => buildCodeOrder([2, 2], Uint8Array.of(0), Uint32Array.of(1))).toThrow(/1 codes for 1 rows/);
    expect(() => buildCodeOrder([2], Uint8Array.of(0), Uint32Array.of(1))).toThrow(/1 levels/);
    expect(() => buildCodeOrder([2, 257], Uint8Array.of(0, 0), Uint32Array.of(1))).toThrow(/257/);
    const { order } = buildCodeOrder([2, 2], Uint8Array.of(0, 1), Uint32Array.of(1));
    expect(() => order.range([2])).toThrow(/code 2 at level 1/);
    expect(() => order.range([0, 0, 0])).toThrow(/prefix of 3/);
  });
});
