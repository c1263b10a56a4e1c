/** A graph of an artefact, run node by node on a heap of its network: opened in about a millisecond, with nothing to start first. */
import { GraphError } from "../graph-error.ts";
import type { Heap } from "./heap.ts";
import { type OnnxNode, type OnnxTensor, readOnnx } from "./onnx-model.ts";
import { type Call, type Operator, OPERATORS } from "./operators.ts";
import type { Value } from "./values.ts";

interface Step {
  readonly node: OnnxNode;
  readonly run: Operator;
  /** Slots of the inputs, -1 for one that is left out. */
  readonly inputs: readonly number[];
  /** Slots of the outputs, -1 for one that nobody asks for. */
  readonly outputs: readonly number[];
}

export class TypedGraph {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly #heap: Heap;
  readonly #steps: readonly Step[];
  /** By slot: constants, and undefined where a run writes. */
  readonly #constants: readonly (Value | undefined)[];
  readonly #inputs: readonly number[];
  readonly #outputs: readonly number[];

  /**
   * Reads a graph, puts its constants on the heap and resolves its names. int8 weights stay int8.
   * @throws GraphError for bytes that are no ONNX model and for nodes that operators.ts does not have.
   */
  constructor(content: ArrayBuffer | Uint8Array, heap: Heap) {
    const graph = readOnnx(content instanceof Uint8Array ? content : new Uint8Array(content));
    const slots = new Map<string, number>();
    const values: (Value | undefined)[] = [];
    const define = (name: string, value?: Value): number => {
      if (slots.has(name)) throw new GraphError(`two values of the name ${name}`);
      slots.set(name, values.length);
      return values.push(value) - 1;
    };
    const find = (name: string): number => {
      const slot = slots.get(name);
      if (slot === undefined) throw new GraphError(`nothing before it gives ${name}`);
      return slot;
    };
    this.#heap = heap;
    for (const tensor of graph.initialisers) define(tensor.name, constantOf(tensor, heap));
    this.#inputs = graph.inputs.map((name) => define(name));
    const steps: Step[] = [];
    for (const node of graph.nodes) {
      const run = OPERATORS.get(node.operator);
      if (run === undefined) throw new GraphError(`no operator ${node.operator}`);
      const inputs = node.inputs.map((name) => (name === "" ? -1 : find(name)));
      const outputs = node.outputs.map((name) => (name === "" ? -1 : define(name)));
      const step = { node, run, inputs, outputs };
      const isConstant = inputs.every((slot) => slot === -1 || values[slot] !== undefined);
      if (isConstant) runStep(step, values, heap);
      else steps.push(step);
    }
    this.#outputs = graph.outputs.map(find);
    this.#steps = steps;
    this.#constants = values;
    this.inputNames = graph.inputs;
    this.outputNames = graph.outputs;
  }

  /**
   * Runs the graph on its inputs, in the order of their names.
   * @returns its outputs, in the order of their names, as long as the heap is not reset
   * @throws GraphError where a node can't be run on these inputs
   */
  run(inputs: readonly Value[]): readonly Value[] {
    const values = this.#constants.slice();
    for (const [at, slot] of this.#inputs.entries()) values[slot] = inputs[at];
    for (const step of this.#steps) runStep(step, values, this.#heap);
    return this.#outputs.map((slot) => values[slot]!);
  }
}

function runStep(step: Step, values: (Value | undefined)[], heap: Heap): void {
  const { operator, attributes } = step.node;
  const inputs = step.inputs.map((slot) => (slot === -1 ? undefined : values[slot]));
  const results = resultsOf(step, { operator, inputs, attributes, heap });
  for (const [at, slot] of step.outputs.entries()) {
    if (slot === -1) continue;
    const result = results[at];
    if (result === undefined) throw new GraphError(`${operator} gives no output ${at}`);
    values[slot] = result;
  }
}

function resultsOf({ run }: Step, call: Call): readonly (Value | undefined)[] {
  try {
    return run(call);
  } catch (error) {
    // a kernel that left its memory: the graph asked for what is not there
    throw error instanceof WebAssembly.RuntimeError ? new GraphError(error.message, { cause: error }) : error;
  }
}

function constantOf(tensor: OnnxTensor, heap: Heap): Value {
  const { name, dims } = tensor;
  if (tensor.type === "integers") return { kind: "integers", dims, data: tensor.data };
  if (tensor.type === "float") return { kind: "floats", dims, at: heap.put(tensor.data) };
  if (dims.length !== 2) throw new GraphError(`the int8 initialiser ${name} is no matrix`);
  return { kind: "quantised", dims, at: heap.put(tensor.data), scales: 0 };
}
