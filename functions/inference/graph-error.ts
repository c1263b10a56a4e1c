/** A graph that can't be opened or run, or answers with tensors other than the manifest's, whichever engine found it. */
export class GraphError extends Error {
  override readonly name = "GraphError";
}
