/** The text by which an item is coded, built exactly as the trainer builds it: title, creator, categories, text. */

const SEPARATOR = " \n ";

export interface TextParts {
  readonly title: string;
  readonly creator: string;
  readonly text: string;
  /** `categories` (names, or paths of names) or `category` are used, the rest is not. */
  readonly attributes: Readonly<Record<string, unknown>>;
}

function categoriesOf(attributes: Readonly<Record<string, unknown>>): string[] {
  const raw = attributes["categories"] ?? attributes["category"] ?? [];
  const names = (Array.isArray(raw) ? raw.flat() : [raw]).filter((name) => typeof name === "string");
  return [...new Set(names.map((name) => name.trim()).filter((name) => name !== ""))];
}

/** Empty parts are left out. */
export function itemText(item: TextParts): string {
  return [item.title, item.creator, ...categoriesOf(item.attributes), item.text]
    .map((part) => part.trim())
    .filter((part) => part !== "")
    .join(SEPARATOR);
}
