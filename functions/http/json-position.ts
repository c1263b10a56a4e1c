/**
 * Where a text stops being JSON (RFC 8259). The engine's own message names a place only sometimes and quotes the input, so a
 * refused body is walked once more by this recogniser, which keeps nothing but the place.
 */

const LITERAL = /true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y; // eslint-disable-line no-control-regex -- RFC 8259 forbids them
const SPACE = /[ \t\n\r]*/y;

/** Offset in UTF-16 units of the first character that can't be there, or undefined where the text is JSON. */
export function malformedAt(text: string): number | undefined {
  let at = 0;
  const open: ("}" | "]")[] = []; // what closes each level, innermost last
  const take = (pattern: RegExp): boolean => {
    pattern.lastIndex = at;
    if (!pattern.test(text)) return false;
    at = pattern.lastIndex;
    return true;
  };
  const takeKey = (): boolean => {
    if (!take(STRING)) return false;
    take(SPACE);
    if (text[at] !== ":") return false;
    at++;
    take(SPACE);
    return true;
  };
  take(SPACE);
  for (;;) {
    const character = text[at];
    if (character === "{" || character === "[") {
      const close = character === "{" ? "}" : "]";
      at++;
      take(SPACE);
      if (text[at] !== close) {
        open.push(close);
        if (close === "}" && !takeKey()) return at;
        continue;
      }
      at++;
    } else if (!take(STRING) && !take(LITERAL)) {
      return at;
    }
    // a value has ended: close levels, or go on with the next entry
    for (;;) {
      take(SPACE);
      const close = open.at(-1);
      if (close === undefined) return at === text.length ? undefined : at;
      if (text[at] === close) {
        open.pop();
        at++;
        continue;
      }
      if (text[at] !== ",") return at;
      at++;
      take(SPACE);
      if (close === "}" && !takeKey()) return at;
      break;
    }
  }
}

/** `line 2, column 7` of an offset, both from 1. */
export function lineAndColumn(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset);
  return { line: before.split("\n").length, column: offset - before.lastIndexOf("\n") };
}
