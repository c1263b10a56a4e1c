/** Writes a world to a folder, row by row, and returns what was written; `WORLD_DIGEST` pins it for the default world. */
import { createHash } from "node:crypto";
import { mkdirSync } from "node:fs";
import path from "node:path";
import { dialogueCount, makeDialogue } from "./dialogues.ts";
import { LineFile } from "./line-file.ts";
import { notesOf } from "./notes.ts";
import { truthText } from "./truth.ts";
import { EVENT_COLUMNS, ITEM_COLUMNS, eventLine, eventRows, itemRow, listLine, userLine } from "./write-files.ts";
import type { World } from "./world.ts";

export const PARTS = ["items", "events", "lists", "users", "notes", "dialogues", "truth"] as const;
export type Part = (typeof PARTS)[number];

export interface WrittenFile {
  readonly name: string;
  readonly rows: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

export function writeWorld(world: World, folder: string, parts: readonly Part[] = PARTS): WrittenFile[] {
  mkdirSync(folder, { recursive: true });
  const files = new Map<Part, { name: string; file: LineFile }>();
  const open = (part: Part, name: string, header?: string): LineFile | null => {
    if (!parts.includes(part)) return null;
    const file = new LineFile(path.join(folder, name), header);
    files.set(part, { name, file });
    return file;
  };
  const items = open("items", "items.csv", ITEM_COLUMNS);
  if (items) for (const item of world.items()) items.line(itemRow(item));

  const events = open("events", "events.csv", EVENT_COLUMNS);
  const lists = open("lists", "lists.jsonl");
  const notes = open("notes", "notes.jsonl");
  const users = open("users", "users.jsonl");
  const isLifeNeeded = events !== null || lists !== null || notes !== null;
  const lives = isLifeNeeded || users ? world.userCount : 0;
  for (let user = 0; user < lives; user += 1) {
    users?.line(userLine(world.user(user)));
    if (!isLifeNeeded) continue;
    const life = world.life(user);
    if (events) for (const row of eventRows(user, life)) events.line(eventLine(row));
    if (lists) for (const list of life.lists) lists.line(listLine(user, list));
    if (notes) for (const note of notesOf(world, user, life)) notes.line(JSON.stringify(note));
  }

  const dialogues = open("dialogues", "dialogues.jsonl");
  if (dialogues) {
    for (let index = 0; index < dialogueCount(world.scale); index += 1) {
      dialogues.line(JSON.stringify(makeDialogue(world.seed, index, world.userCount).dialogue));
    }
  }
  const truth = open("truth", "truth.json");
  if (truth) for (const piece of truthText(world)) truth.text(piece);

  return [...files.values()].map(({ name, file }) => ({ name, rows: file.rows, sha256: file.close() }));
}

/** One digest of all files: sha256 over "name sha256" lines in order of name. */
export function worldDigest(files: readonly WrittenFile[]): string {
  const lines = files.map((file) => `${file.name} ${file.sha256}\n`).sort();
  return createHash("sha256").update(lines.join("")).digest("hex");
}
