/** Progress on stderr: a bar on a terminal, a line every few seconds elsewhere. */
import { Presets, SingleBar } from "cli-progress";

const LINE_EVERY_MS = 5000;

export interface Progress {
  /** Rows done of about `total`. */
  update(done: number, total: number): void;
  /** Clears the bar, so that a report gets a line of its own. */
  interrupt(line: string): void;
  stop(): void;
}

export function progressOf(label: string, stream: NodeJS.WriteStream = process.stderr): Progress {
  return stream.isTTY ? barOf(label, stream) : linesOf(label, stream);
}

function barOf(label: string, stream: NodeJS.WriteStream): Progress {
  const format = `${label} {bar} {percentage}% | {value} of {total} rows | {eta_formatted} left`;
  const bar = new SingleBar(
    { format, stream, hideCursor: true, clearOnComplete: true, etaBuffer: 50 },
    Presets.shades_grey,
  );
  let isOn = false;
  return {
    update(done, total) {
      if (!isOn) bar.start(Math.max(done, total), done);
      isOn = true;
      bar.setTotal(Math.max(done, total));
      bar.update(done);
    },
    interrupt(line) {
      if (isOn) stream.write("\r\u001B[2K");
      stream.write(`${line}\n`);
    },
    stop() {
      if (isOn) bar.stop();
    },
  };
}

function linesOf(label: string, stream: NodeJS.WriteStream): Progress {
  let last = Date.now();
  return {
    update(done, total) {
      if (Date.now() - last < LINE_EVERY_MS) return;
      last = Date.now();
      stream.write(`${label}: ${done} of ${Math.max(done, total)} rows\n`);
    },
    interrupt(line) {
      stream.write(`${line}\n`);
    },
    stop() {},
  };
}
