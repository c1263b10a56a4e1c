/** Runs a task for each entry, at most `width` at once (a Worker has six connections), results in order. The first error rejects. */
export async function mapLimited<T, R>(
  entries: readonly T[],
  width: number,
  task: (entry: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < entries.length) {
      const index = next;
      next += 1;
      results[index] = await task(entries[index]!);
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, entries.length) }, lane));
  return results;
}
