import { describe, expect, test } from "vitest";
import {
  checkCodes,
  checkFile,
  checkManifest,
  checkRows,
  readItemIds,
} from "../../../functions/domain/artefact/checks.ts";
import { versionOf } from "../../../functions/domain/artefact/digest.ts";
import { ArtefactPath, Manifest, manifestJsonSchema } from "../../../functions/domain/artefact/manifest.ts";
import schema from "../../../functions/domain/artefact/manifest.schema.json" with { type: "json" };
import { MODEL_BUDGET_BYTES, modelBytes } from "../../../functions/domain/artefact/memory.ts";
import { tinyArtefact, type TinyName } from "../../support/tiny-artefact.ts";

type Writable<T> = T extends readonly (infer U)[]
  ? Writable<U>[]
  : T extends object
    ? { -readonly [K in keyof T]: Writable<T[K]> }
    : T;

/** The tiny manifest with a change, its version made right again. */
async function changed(
  change: (manifest: Writable<Manifest>) => void,
  name: TinyName = "two-levels",
): Promise<Manifest> {
  const manifest: Writable<Manifest> = tinyArtefact(name).manifest;
  change(manifest);
  manifest.modelVersion = await versionOf(manifest.files);
  return Manifest.parse(manifest);
}

const codesOf = async (manifest: Manifest, appId = "app_a") =>
  (await checkManifest(manifest, appId)).map((refusal) => `${refusal.code} ${refusal.what}`);

describe("the manifest's shape", () => {
  test("manifest.schema.json, which the trainer validates against, is the schema in use", () => {
    expect(schema).toEqual(JSON.parse(JSON.stringify(manifestJsonSchema())));
  });

  test("refuses a field that it does not know", () => {
    const { manifest } = tinyArtefact("two-levels");
    expect(Manifest.safeParse({ ...manifest, extra: 1 }).success).toBe(false);
    expect(Manifest.safeParse({ ...manifest, scoring: { ...manifest.scoring, extra: 1 } }).success).toBe(false);
  });

  test.each(["../x", "/x", "a//b", "a/../b", ".hidden", "a/.b", "a\\b", "a b", "", "a/"])(
    "refuses the path %j",
    (path) => {
      expect(ArtefactPath.safeParse(path).success).toBe(false);
    },
  );

  test.each(["encoder.onnx", "text/text.onnx", "a-b_c.1/d"])("accepts the path %j", (path) => {
    expect(ArtefactPath.safeParse(path).success).toBe(true);
  });
});

describe("rules between the fields", () => {
  test.each(["two-levels", "three-levels", "product-quantised"] as const)("accepts the %s artefact", async (name) => {
    expect(await checkManifest(tinyArtefact(name).manifest, "app_a")).toEqual([]);
  });

  test("refuses an artefact that was made for another app, and accepts its own", async () => {
    const manifest = await changed((m) => (m.app = "app_b"));
    expect(await codesOf(manifest)).toEqual(["app app"]);
    expect(await codesOf(manifest, "app_b")).toEqual([]);
  });

  test("refuses a version that is not the hash of the files", async () => {
    const { manifest } = tinyArtefact("two-levels");
    expect(await codesOf({ ...manifest, modelVersion: "m_000000000000" })).toEqual(["version modelVersion"]);
  });

  test("refuses sizes that the number of items, levels and dimensions do not give", async () => {
    const manifest = await changed((m) => {
      for (const file of m.files) if (/codes|vectors|scales/.test(file.path)) file.bytes += 1;
    });
    const sizes = ["file_size codes.bin", "file_size vectors.bin", "file_size scales.bin"];
    expect(await codesOf(manifest)).toEqual(sizes);
  });

  test("refuses a file that is used and not listed", async () => {
    const manifest = await changed((m) => (m.files = m.files.filter((file) => file.path !== "parity.json")));
    expect(await codesOf(manifest)).toEqual(["file_missing parity.json"]);
  });

  test("refuses int8 vectors without scales", async () => {
    expect(await codesOf(await changed((m) => (m.vectors.scales = null)))).toEqual(["dtype vectors/scales"]);
  });

  test("refuses product-quantised vectors without centroids, with scales, or with subspaces that do not divide", async () => {
    const name = "product-quantised";
    expect(await codesOf(await changed((m) => delete m.vectors.centroids, name))).toEqual(["dtype vectors/centroids"]);
    const scaled = await changed((m) => (m.vectors.scales = "codes.bin"), name);
    expect(await codesOf(scaled)).toContain("dtype vectors/scales");
    const odd = await changed((m) => {
      m.vectors.subspaces = 3;
      m.files.find((file) => file.path === "pq.bin")!.bytes = 3 * m.items.count;
      m.files.find((file) => file.path === "centroids.bin")!.bytes += 4;
    }, name);
    expect(await codesOf(odd)).toEqual(["shape vectors/subspaces"]);
    const int8 = await changed((m) => (m.vectors.subspaces = 4));
    expect(await codesOf(int8)).toEqual(["dtype vectors/subspaces"]);
  });

  test("refuses files of product-quantised vectors whose sizes do not follow from the manifest", async () => {
    const manifest = await changed((m) => {
      for (const file of m.files) if (/pq|centroids/.test(file.path)) file.bytes += 1;
    }, "product-quantised");
    expect(await codesOf(manifest)).toEqual(["file_size pq.bin", "file_size centroids.bin"]);
  });

  test("refuses a tensor of another type, naming it", async () => {
    const manifest = await changed((m) => (m.graphs[1]!.inputs[1]!.dtype = "float32"));
    expect(await checkManifest(manifest, "")).toEqual([
      { code: "dtype", what: "step2.onnx inputs/prefix", expected: "int32", got: "float32" },
    ]);
  });

  test("refuses a tensor of another shape, saying both", async () => {
    const manifest = await changed((m) => (m.graphs[0]!.outputs[1]!.shape = [1, 9]));
    expect(await checkManifest(manifest, "")).toEqual([
      { code: "shape", what: "encoder.onnx outputs/logits1", expected: "(1, 8)", got: "(1, 9)" },
    ]);
  });

  test("refuses a fixed dimension where the caller chooses, and the other way round", async () => {
    const fixed = await changed((m) => (m.graphs[0]!.inputs[0]!.shape = [1, 10, 8]));
    expect(await codesOf(fixed)).toEqual(["shape encoder.onnx inputs/x"]);
    const free = await changed((m) => (m.graphs[0]!.outputs[0]!.shape = ["B", 8]));
    expect(await codesOf(free)).toEqual(["shape encoder.onnx outputs/h"]);
  });

  test("refuses a level without its step, and a step that is no level's", async () => {
    const missing = await changed((m) => m.graphs.splice(2, 1), "three-levels");
    expect(await codesOf(missing)).toEqual(["graph graphs"]);
    const spare = await changed((m) => m.graphs.push({ ...m.graphs[1]!, level: 3 }));
    expect(await codesOf(spare)).toEqual(["graph graphs"]);
  });

  test("refuses another number of beams than there are levels to keep them after", async () => {
    expect(await codesOf(await changed((m) => (m.scoring.beams = [8, 8])))).toEqual(["scoring scoring/beams"]);
  });

  test("refuses a text encoder whose hash is not that of its graph", async () => {
    const manifest = await changed((m) => (m.textEncoder.sha256 = "0".repeat(64)));
    expect(await codesOf(manifest)).toEqual(["file_hash textEncoder/sha256"]);
  });
});

describe("what the files hold", () => {
  const { manifest, files } = tinyArtefact("two-levels");

  test("a file passes with its own bytes, and fails by size and by hash with others", async () => {
    const line = manifest.files.find((file) => file.path === "codes.bin")!;
    const bytes = files.get("codes.bin")!;
    expect(await checkFile(line, bytes)).toBeUndefined();
    expect((await checkFile(line, bytes.subarray(1)))?.code).toBe("file_size");
    const other = bytes.slice();
    other[3]! ^= 1;
    expect((await checkFile(line, other))?.code).toBe("file_hash");
  });

  test("a code that is not below its level's size is refused, with its row", () => {
    const codes = files.get("codes.bin")!.slice();
    expect(checkCodes(manifest, codes)).toBeUndefined();
    codes[7] = 8;
    expect(checkCodes(manifest, codes)).toMatchObject({ code: "codes", got: "8 in row 3" });
  });

  test("a leaf with more than leafMax items is refused", () => {
    const codes = new Uint8Array(files.get("codes.bin")!.length);
    expect(checkCodes(manifest, codes)).toMatchObject({ code: "codes" });
    expect(checkCodes({ ...manifest, leafMax: 40 }, codes)).toBeUndefined();
  });

  test("items.txt must have one id a line, each once, and end its last line", () => {
    const text = new TextDecoder().decode(files.get("items.txt"));
    expect(readItemIds(manifest, text)).toMatchObject({ ids: { length: 40 } });
    for (const wrong of [
      text.slice(0, -1),
      `${text}more\n`,
      text.replace("item-3\n", "\n"),
      text.replace("item-3\n", "item-4\n"),
    ]) {
      expect(readItemIds(manifest, wrong)).toMatchObject({ refusal: { code: "items" } });
    }
  });

  test("90 % of the rows must be items of the app, and not one fewer", () => {
    expect(checkRows(manifest, 36)).toBeUndefined();
    expect(checkRows(manifest, 35)).toMatchObject({ code: "rows", got: "35" });
  });

  test("the memory estimate grows with items and stays under the budget for this artefact", () => {
    expect(modelBytes(manifest, 1000)).toBeGreaterThan(modelBytes(manifest, 10));
    expect(modelBytes(manifest, 40)).toBeLessThan(MODEL_BUDGET_BYTES / 100);
  });
});
