/** A file written in chunks of a megabyte, with the sha256 of what went in. */
import { createHash } from "node:crypto";
import { closeSync, openSync, writeSync } from "node:fs";

const CHUNK = 1 << 20;

export class LineFile {
  private readonly file: number;
  private readonly digest = createHash("sha256");
  private waiting: string[] = [];
  private size = 0;
  rows = 0;

  constructor(path: string, header?: string) {
    this.file = openSync(path, "w");
    if (header !== undefined) this.text(`${header}\n`);
  }

  line(text: string): void {
    this.text(`${text}\n`);
    this.rows += 1;
  }

  /** Text that brings its own line breaks. */
  text(text: string): void {
    this.waiting.push(text);
    this.size += text.length;
    if (this.size > CHUNK) this.flush();
  }

  /** Closes the file; sha256 in hexadecimal. */
  close(): string {
    this.flush();
    closeSync(this.file);
    return this.digest.digest("hex");
  }

  private flush(): void {
    const bytes = Buffer.from(this.waiting.join(""), "utf8");
    this.digest.update(bytes);
    for (let from = 0; from < bytes.length;) from += writeSync(this.file, bytes, from);
    this.waiting = [];
    this.size = 0;
  }
}
