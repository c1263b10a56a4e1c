/**
 * The manifest of a model artefact: which files a model consists of, what their bytes must hash to and how the graphs are
 * called. The trainer validates what it writes against manifest.schema.json, which is made from this file.
 */
import * as z from "zod";

/** Largest file of an artefact, bytes: the body limit of the upload route. */
export const ARTEFACT_FILE_BYTES = 25 * 1024 * 1024;

/** Share of an artefact's rows that must resolve to items of the app. */
export const MIN_LIVE_ROWS_SHARE = 0.9;

/** 64 lower-case hex digits. */
export const Sha256 = z.string().regex(/^[0-9a-f]{64}$/);

/** Segments of letters, digits, dot, dash and underscore; none begins with a dot, so no path leaves its folder. */
export const ArtefactPath = z
  .string()
  .max(200)
  .regex(/^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/);

const Count = z.int().min(0);
const Size = z.int().min(1);
const Name = z.string().min(1).max(64);

/** A dimension is a number, or the name of one that the caller chooses: T (time), B (beams), N (texts). */
const GraphTensor = z.strictObject({
  name: Name,
  dtype: z.enum(["float32", "int32"]),
  shape: z.array(z.union([Size.max(100_000_000), Name])).max(4),
});

const Graph = z.strictObject({
  role: z.enum(["encoder", "step", "tokenizer", "text"]),
  /** Level that a step decodes: 2..L. Only steps have it. */
  level: z.int().min(2).max(3).optional(),
  file: ArtefactPath,
  inputs: z.array(GraphTensor).min(1).max(4),
  outputs: z.array(GraphTensor).min(1).max(4),
  /** int8-weights: weights stored as int8 and turned to float32 when the session opens, all arithmetic float32. */
  dtype: z.enum(["int8-weights", "float32"]),
});

export const Manifest = z.strictObject({
  schemaVersion: z.literal(1),
  /** Public id of the only app that may register it; null: any app. */
  app: z.string().max(64).nullable(),
  /** m_ and the first 12 hex digits of the sha256 over the sorted `path sha256\n` lines of `files`. */
  modelVersion: z.string().regex(/^m_[0-9a-f]{12}$/),
  createdAt: z.iso.datetime({ offset: true }),
  code: z.strictObject({ commit: z.string().max(64) }),
  data: z.strictObject({
    name: z.string().min(1).max(128),
    sha256: Sha256,
    events: Count,
    users: Count,
    items: Count,
    /** Time of the newest event; null where the data has order but no time. */
    until: z.iso.datetime({ offset: true }).nullable(),
    /** Share of events whose item the user had met before. */
    repeatShare: z.number().min(0).max(1),
  }),
  items: z.strictObject({ count: Size.max(10_000_000), file: ArtefactPath }),
  codes: z.strictObject({ file: ArtefactPath }),
  vectors: z.strictObject({
    file: ArtefactPath,
    /** pq: a byte for each subspace, the index of a centroid of what the codewords of the item's codes leave of the vector. */
    dtype: z.enum(["int8", "float32", "pq"]),
    /** Float32, one an item; null unless int8. */
    scales: ArtefactPath.nullable(),
    /**
     * pq only. int8: codewords (sum of levels, dim), centroids (subspaces, 256, dim / subspaces); then float32: a scale a codeword, a
     * scale a subspace.
     */
    centroids: ArtefactPath.optional(),
    /** pq only: bytes an item; divides dim. */
    subspaces: Size.max(256).optional(),
  }),
  /** Codes a level, first level first. */
  levels: z.array(z.int().min(2).max(256)).min(2).max(3),
  /** Most items that share all codes. */
  leafMax: Size,
  historyLength: Size.max(200),
  dim: Size.max(1024),
  scoring: z.strictObject({
    mode: z.enum(["beam", "exact"]),
    alpha: z.number().min(0).max(1),
    temperature: z.number().positive().max(100),
    beams: z.array(Size.max(256)).min(1).max(2),
    leaves: Size.max(4096),
    exactBelow: Count,
  }),
  /** The text encoder may be shared by models; `sha256` is that of the graph's bytes. */
  textEncoder: z.strictObject({
    sha256: Sha256,
    dim: Size.max(4096),
    tokens: Size.max(512),
    graph: ArtefactPath,
    tokenizer: ArtefactPath,
  }),
  graphs: z.array(Graph).min(4).max(5),
  /** Every file of the artefact but manifest.json itself. */
  files: z
    .array(z.strictObject({ path: ArtefactPath, bytes: Size.max(ARTEFACT_FILE_BYTES), sha256: Sha256 }))
    .min(1)
    .max(64),
  metrics: z.strictObject({
    split: z.string().max(64),
    rows: z.array(z.record(z.string().max(64), z.unknown())).max(100),
  }),
  /** Largest deviation of the served graphs from parity.json, relative to max(1, |expected|). */
  parity: z.strictObject({ file: ArtefactPath, tolerance: z.number().positive().max(0.1) }),
});

export type Manifest = z.infer<typeof Manifest>;
export type ManifestGraph = Manifest["graphs"][number];

/** The manifest as JSON Schema (draft 2020-12). Rules between fields are not in it; `checkManifest` holds them. */
export function manifestJsonSchema(): object {
  return z.toJSONSchema(Manifest, { target: "draft-2020-12" });
}
