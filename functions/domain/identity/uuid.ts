/** UUIDv7 (RFC 9562, section 5.7): 48 bits of milliseconds, then random bits, so that ids sort by time. */
import { hex } from "./keys.ts";
import type { RandomBytes } from "./keys.ts";

export function uuidv7(nowMs: number, random: RandomBytes): string {
  const bytes = random(16);
  for (let place = 0; place < 6; place++) bytes[place] = Math.floor(nowMs / 2 ** (8 * (5 - place))) % 256;
  bytes[6] = 0x70 | ((bytes[6] ?? 0) & 0x0f);
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f);
  const text = hex(bytes);
  return [text.slice(0, 8), text.slice(8, 12), text.slice(12, 16), text.slice(16, 20), text.slice(20)].join("-");
}
