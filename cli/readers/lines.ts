/** Physical lines of a UTF-8 file in chunks, numbered from 1, without their "\n"; a byte order mark is dropped. */
import { createReadStream } from "node:fs";

export interface Line {
  readonly number: number;
  readonly text: string;
}

/** Splits at "\n" only: readline also splits at U+2028, which JSON may hold unescaped. Bad UTF-8 becomes U+FFFD. */
export async function* linesOf(path: string): AsyncGenerator<Line[], void, undefined> {
  const decoder = new TextDecoder("utf-8");
  let number = 0;
  let rest = "";
  for await (const bytes of createReadStream(path, { highWaterMark: 1 << 18 })) {
    const parts = (rest + decoder.decode(bytes as Uint8Array, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    if (parts.length > 0) yield parts.map((text) => ({ number: ++number, text }));
  }
  rest += decoder.decode();
  if (rest !== "") yield [{ number: number + 1, text: rest }];
}
