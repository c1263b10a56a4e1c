/**
 * The decoding graphs as a `DecodeNetwork`. Sessions are shared by every version of a model's item tables and counted, so
 * that none is released while something still uses it.
 */
import type { Manifest } from "../domain/artefact/manifest.ts";
import type { DecodeNetwork } from "../domain/generation/types.ts";
import { floatsOf, floatTensor, integerTensor, run, type Session } from "./runtime.ts";

export interface DecodeSessions {
  readonly encoder: Session;
  /** Of levels 2..L. */
  readonly steps: readonly Session[];
}

/** A value with users; `release` is called when the last one has let go. */
export class Shared<T> {
  readonly value: T;
  readonly #release: (value: T) => Promise<void>;
  #users = 1;

  constructor(value: T, release: (value: T) => Promise<void>) {
    this.value = value;
    this.#release = release;
  }

  /** @throws Error when nobody held it any more. */
  hold(): this {
    if (this.#users === 0) throw new Error("already released");
    this.#users += 1;
    return this;
  }

  async letGo(): Promise<void> {
    if (this.#users === 0) throw new Error("already released");
    this.#users -= 1;
    if (this.#users === 0) await this.#release(this.value);
  }
}

export async function releaseSessions(sessions: DecodeSessions): Promise<void> {
  for (const session of [sessions.encoder, ...sessions.steps]) await session.release();
}

/** Inputs are wrapped, not copied; the runtime copies them into its own memory before it computes. */
export function decodeNetwork(manifest: Manifest, sessions: DecodeSessions): DecodeNetwork {
  const { dim, levels, historyLength } = manifest;
  return {
    async encode(x, length) {
      if (length < 1 || length > historyLength) {
        throw new RangeError(`a history has 1 to ${historyLength} items, got ${length}`);
      }
      const values = x.length === length * dim ? x : x.subarray(0, length * dim);
      const out = await run(sessions.encoder, { x: floatTensor(values, [1, length, dim]) });
      return { h: floatsOf(out, "h", [1, dim]), logits: floatsOf(out, "logits1", [1, levels[0]!]) };
    },
    async step(level, h, prefixes, beams) {
      const session = sessions.steps[level - 2];
      const codes = levels[level - 1];
      if (session === undefined || codes === undefined) {
        throw new RangeError(`level must be 2 to ${levels.length}, got ${level}`);
      }
      const size = beams * (level - 1);
      const prefix = integerTensor(prefixes.length === size ? prefixes : prefixes.subarray(0, size), [
        beams,
        level - 1,
      ]);
      const out = await run(session, { h: floatTensor(h, [1, dim]), prefix });
      return floatsOf(out, "logits", [beams, codes]);
    },
  };
}
