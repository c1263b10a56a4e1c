/** The source of randomness that the rim hands to rules. */
import type { RandomBytes } from "../domain/identity/keys.ts";

export const randomBytes: RandomBytes = (count) => crypto.getRandomValues(new Uint8Array(count));
