/** Codes items by their text with the model's own graphs: text -> token ids -> text vector -> item vector and codes. */
import { Tokenizer } from "@huggingface/tokenizers";
import { type CodedItem, quantise } from "../domain/artefact/coded-item.ts";
import type { Manifest } from "../domain/artefact/manifest.ts";
import { graphBytes } from "../domain/artefact/memory.ts";
import { ArtefactError, checkedBytes, graphOf, type ModelSource } from "./model-source.ts";
import { createSession, floatsOf, floatTensor, integersOf, integerTensor, run, type Session } from "./runtime.ts";

/** Texts a run: enough rows for the products to be fast, few enough that one run stays near a millisecond. */
const BATCH = 32;

/** A vocabulary as maps of strings takes several times its JSON. */
const VOCABULARY_FACTOR = 6;

export interface EncodedTexts {
  /** (texts, dim) */
  readonly vectors: Float32Array;
  /** (texts, levels) */
  readonly codes: Uint8Array;
}

export interface TextCoder {
  readonly bytes: number;
  /** Token ids of a text, cut to the manifest's number of tokens. */
  tokens(text: string): number[];
  encode(texts: readonly string[]): Promise<EncodedTexts>;
  dispose(): Promise<void>;
}

/** Rows of an encoding as items; `numbers` are theirs, in order. Vectors are stored as int8. */
export function codedItems(encoded: EncodedTexts, numbers: readonly number[], manifest: Manifest): CodedItem[] {
  const { dim, levels } = manifest;
  return numbers.map((number, row) => ({
    number,
    codes: encoded.codes.slice(row * levels.length, (row + 1) * levels.length),
    ...quantise(encoded.vectors.subarray(row * dim, (row + 1) * dim)),
  }));
}

/** (texts, longest) ids padded with 0, and the mask that tells ids from padding. */
function padded(rows: readonly number[][]): { tokens: Int32Array; mask: Float32Array; length: number } {
  const length = Math.max(1, ...rows.map((row) => row.length));
  const tokens = new Int32Array(rows.length * length);
  const mask = new Float32Array(rows.length * length);
  for (const [at, row] of rows.entries()) {
    tokens.set(row, at * length);
    mask.fill(1, at * length, at * length + row.length);
  }
  return { tokens, mask, length };
}

type Opened = Omit<TextCoder, "bytes">;

function opened(manifest: Manifest, tokenizer: Tokenizer, sessions: { text: Session; tokenizer: Session }): Opened {
  const { dim, levels, textEncoder } = manifest;
  const tokensOf = (text: string) =>
    tokenizer.encode(text, { add_special_tokens: false }).ids.slice(0, textEncoder.tokens);
  return {
    tokens: tokensOf,
    async encode(texts) {
      const vectors = new Float32Array(texts.length * dim);
      const codes = new Uint8Array(texts.length * levels.length);
      for (let from = 0; from < texts.length; from += BATCH) {
        const rows = texts.slice(from, from + BATCH).map(tokensOf);
        const { tokens, mask, length } = padded(rows);
        const shape = [rows.length, length];
        const embedded = await run(sessions.text, {
          tokens: integerTensor(tokens, shape),
          mask: floatTensor(mask, shape),
        });
        const textShape = [rows.length, textEncoder.dim];
        const text = floatTensor(floatsOf(embedded, "text", textShape), textShape);
        const out = await run(sessions.tokenizer, { text });
        vectors.set(floatsOf(out, "vector", [rows.length, dim]), from * dim);
        codes.set(integersOf(out, "codes", [rows.length, levels.length]), from * levels.length);
      }
      return { vectors, codes };
    },
    async dispose() {
      await sessions.text.release();
      await sessions.tokenizer.release();
    },
  };
}

/** @throws ArtefactError when the file is not a tokenizer in the Hugging Face format */
function tokenizerOf(what: string, bytes: ArrayBuffer): Tokenizer {
  try {
    const tokenizer = new Tokenizer(JSON.parse(new TextDecoder().decode(bytes)) as object, {});
    tokenizer.encode("a", { add_special_tokens: false });
    return tokenizer;
  } catch (error) {
    const got = error instanceof Error ? error.message.slice(0, 200) : "something else";
    throw new ArtefactError({ code: "tokenizer", what, expected: "a tokenizer in the tokenizers JSON format", got });
  }
}

/** Opens the text side of a model: not on the path of a recommendation. @throws ArtefactError when a file is not what the manifest says. */
export async function loadTextCoder(source: ModelSource): Promise<TextCoder> {
  const { manifest } = source;
  const vocabulary = await checkedBytes(source, manifest.textEncoder.tokenizer);
  const graphs = [graphOf(manifest, "text"), graphOf(manifest, "tokenizer")] as const;
  const text = await checkedBytes(source, graphs[0].file);
  const graph = await checkedBytes(source, graphs[1].file);
  const tokenizer = tokenizerOf(manifest.textEncoder.tokenizer, vocabulary);
  const textSession = await createSession(text);
  try {
    const sessions = { text: textSession, tokenizer: await createSession(graph) };
    const inRuntime = graphBytes(graphs[0].dtype, text.byteLength) + graphBytes(graphs[1].dtype, graph.byteLength);
    return { ...opened(manifest, tokenizer, sessions), bytes: VOCABULARY_FACTOR * vocabulary.byteLength + inRuntime };
  } catch (error) {
    await textSession.release();
    throw error;
  }
}
