/**
 * The two engines that can run a model's decoding graphs, behind one network. The typed one is ready at once; ONNX Runtime takes
 * hundreds of milliseconds of the isolate's only thread to start, so it is started when nobody waits, and takes over when it is up.
 */
import { expectedTensors } from "../domain/artefact/checks.ts";
import type { Manifest, ManifestGraph } from "../domain/artefact/manifest.ts";
import { graphBytes } from "../domain/artefact/memory.ts";
import type { DecodeNetwork } from "../domain/generation/types.ts";
import { GraphError } from "./graph-error.ts";
import { ArtefactError, checkedBytes, graphOf, type ModelSource } from "./model-source.ts";
import { decodeNetwork, type DecodeSessions, releaseSessions } from "./network.ts";
import { createSession, type Session, type SessionOptions } from "./runtime.ts";
import { openTypedNetwork, type TypedNetwork } from "./typed/typed-network.ts";

export type EngineName = "typed" | "onnx";
/** `auto`: the typed engine answers until the runtime is up; for graphs that it lacks an operator of, the runtime alone. */
export type EngineChoice = EngineName | "auto";

export interface EngineOptions extends SessionOptions {
  readonly engine?: EngineChoice | undefined;
}

/** The word of a setting. @throws RangeError for another one */
export function engineChoice(word: string): EngineChoice {
  if (word === "auto" || word === "typed" || word === "onnx") return word;
  throw new RangeError(`INFERENCE_ENGINE is auto, typed or onnx, not ${word}`);
}

/** A decoding graph and its bytes. */
interface GraphFile {
  readonly graph: ManifestGraph;
  readonly content: ArrayBuffer;
}

/** The encoder and the steps of levels 2..L, read side by side. @throws ArtefactError for a file other than the manifest's */
export function readGraphs(source: ModelSource): Promise<GraphFile[]> {
  const { manifest } = source;
  const graphs = manifest.levels.map((_, at) =>
    at === 0 ? graphOf(manifest, "encoder") : graphOf(manifest, "step", at + 1),
  );
  return Promise.all(graphs.map(async (graph) => ({ graph, content: await checkedBytes(source, graph.file) })));
}

function refuse(file: string, expected: string, got: string): never {
  throw new ArtefactError({ code: "graph", what: file, expected, got });
}

/** @throws ArtefactError when a graph has other inputs and outputs than its role needs */
function checkNames(
  manifest: Manifest,
  graph: ManifestGraph,
  { inputNames, outputNames }: { readonly inputNames: readonly string[]; readonly outputNames: readonly string[] },
): void {
  const { inputs, outputs } = expectedTensors(manifest, graph.role, graph.level);
  const expected = [...inputs, ...outputs].map((tensor) => tensor.name).join(", ");
  const got = [...inputNames, ...outputNames].join(", ");
  if (expected !== got) refuse(graph.file, `tensors ${expected}`, got);
}

/**
 * Opens graphs without the runtime.
 * @throws GraphError for a graph that this engine does not run; ArtefactError for one of other inputs and outputs
 */
export async function openTyped(manifest: Manifest, files: readonly GraphFile[]): Promise<TypedNetwork> {
  const [encoder, ...steps] = files.map((file) => file.content);
  const network = await openTypedNetwork(manifest, { encoder: encoder!, steps });
  for (const [at, opened] of [network.encoder, ...network.steps].entries())
    checkNames(manifest, files[at]!.graph, opened);
  return network;
}

/** @throws ArtefactError for a graph that does not open or has other inputs and outputs */
async function openSessions(
  manifest: Manifest,
  files: readonly GraphFile[],
  options: SessionOptions,
): Promise<DecodeSessions> {
  const opened: Session[] = [];
  try {
    for (const { graph, content } of files) {
      const session = await createSession(content, options).catch((error: unknown) => {
        if (!(error instanceof GraphError)) throw error;
        return refuse(graph.file, "a graph that the runtime opens", error.message);
      });
      opened.push(session);
      checkNames(manifest, graph, session);
    }
  } catch (error) {
    for (const session of opened) await session.release();
    throw error;
  }
  const [encoder, ...steps] = opened;
  return { encoder: encoder!, steps };
}

export class Engines {
  readonly #manifest: Manifest;
  readonly #options: EngineOptions;
  readonly #runtimeBytes: number; // what the runtime takes for these graphs
  #typed: TypedNetwork | undefined;
  #sessions: DecodeSessions | undefined;
  /** Held as long as the runtime may still be started on them. */
  #files: readonly GraphFile[] | undefined;
  #network: DecodeNetwork | undefined;
  #isReleased = false;

  private constructor(manifest: Manifest, files: readonly GraphFile[], options: EngineOptions) {
    this.#manifest = manifest;
    this.#options = options;
    this.#files = files;
    this.#runtimeBytes = files.reduce((sum, file) => sum + graphBytes(file.graph.dtype, file.content.byteLength), 0);
  }

  /** Opens the engine that is asked for; the runtime where nothing is said. @throws ArtefactError for a graph that it can't open */
  static async open(manifest: Manifest, files: readonly GraphFile[], options: EngineOptions = {}): Promise<Engines> {
    const engines = new Engines(manifest, files, options);
    const choice = options.engine ?? "onnx";
    if (choice !== "onnx" && (await engines.#openTyped(choice))) return engines;
    await engines.startRuntime();
    return engines;
  }

  /** False where the runtime has to do it. */
  async #openTyped(choice: "auto" | "typed"): Promise<boolean> {
    try {
      this.#typed = await openTyped(this.#manifest, this.#files!);
      this.#network = this.#typed;
      if (choice === "typed") this.#files = undefined;
      return true;
    } catch (error) {
      if (!(error instanceof GraphError)) throw error;
      if (choice === "auto") return false;
      return refuse("the graphs", "graphs that the typed engine runs", error.message);
    }
  }

  /** The engine that answers now. A request takes it once, so that one list is not made by two. */
  get network(): DecodeNetwork {
    return this.#network!;
  }

  get name(): EngineName {
    return this.#sessions === undefined ? "typed" : "onnx";
  }

  /** Whether the runtime is still to be started. */
  get wantsRuntime(): boolean {
    return this.#files !== undefined;
  }

  /** The graphs of both engines, as far as they are open. */
  get bytes(): number {
    return (this.#typed?.bytes ?? 0) + (this.#sessions === undefined ? 0 : this.#runtimeBytes);
  }

  /**
   * Starts the runtime, at the first call only, and hands over to it. It holds the isolate's thread for some hundred
   * milliseconds. Where it fails the typed engine, if there is one, goes on.
   * @throws what the runtime throws when it does not start
   */
  async startRuntime(): Promise<void> {
    const files = this.#files;
    if (files === undefined) return;
    this.#files = undefined; // one attempt: the runtime itself remembers a failed start
    const sessions = await openSessions(this.#manifest, files, this.#options);
    if (this.#isReleased) {
      await releaseSessions(sessions);
      return;
    }
    this.#sessions = sessions;
    this.#network = decodeNetwork(this.#manifest, sessions);
    this.#typed = undefined; // requests that still use it keep it alive
  }

  async release(): Promise<void> {
    this.#isReleased = true;
    this.#files = undefined;
    this.#typed = undefined;
    if (this.#sessions !== undefined) await releaseSessions(this.#sessions);
  }
}
