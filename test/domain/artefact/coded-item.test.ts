import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeVector, encodeVector, quantise } from "../../../functions/domain/artefact/coded-item.ts";
import { itemText } from "../../../functions/domain/artefact/item-text.ts";

const vector = fc.float32Array({
  noNaN: true,
  noDefaultInfinity: true,
  min: -1e6,
  max: 1e6,
  minLength: 1,
  maxLength: 64,
});

describe("vectors of coded items", () => {
  test("quantising keeps every value within half a step of the largest magnitude", () => {
    fc.assert(
      fc.property(vector, (values) => {
        const { scale, vector: stored } = quantise(values);
        for (const [i, value] of values.entries()) {
          expect(Math.abs(stored[i]! * scale - value)).toBeLessThanOrEqual(scale * 0.5001);
          expect(Math.abs(stored[i]!)).toBeLessThanOrEqual(127);
        }
      }),
    );
  });

  test("bytes give back the vector, whatever buffer they lie in", () => {
    fc.assert(
      fc.property(vector, fc.nat(7), (values, offset) => {
        const stored = quantise(values);
        const bytes = encodeVector(stored);
        const shifted = new Uint8Array(bytes.length + offset);
        shifted.set(bytes, offset);
        expect(decodeVector(shifted.subarray(offset), values.length)).toEqual(stored);
      }),
    );
  });

  test("bytes of another number of dimensions are refused", () => {
    expect(() => decodeVector(encodeVector(quantise(new Float32Array(3))), 4)).toThrow(RangeError);
  });

  test("a vector that is not finite is refused", () => {
    expect(() => quantise(Float32Array.of(1, Number.NaN))).toThrow(RangeError);
    expect(() => quantise(Float32Array.of(Infinity))).toThrow(RangeError);
  });
});

describe("the text of an item", () => {
  const item = { title: " Soup ", creator: "", text: "Hot.", attributes: {} };

  test("joins what is there and leaves out what is empty", () => {
    expect(itemText(item)).toBe("Soup \n Hot.");
    expect(itemText({ ...item, creator: "Ada" })).toBe("Soup \n Ada \n Hot.");
  });

  test("takes categories as names or one category, each once, and no other attribute", () => {
    expect(itemText({ ...item, attributes: { categories: ["a", "b", " a "], color: "red" } })).toBe(
      "Soup \n a \n b \n Hot.",
    );
    expect(itemText({ ...item, attributes: { category: "a" } })).toBe("Soup \n a \n Hot.");
    expect(itemText({ ...item, attributes: { category: 3, categories: [] } })).toBe("Soup \n Hot.");
  });
});
