/** The small pool that keeps a Worker within its connections. */
import { expect, it } from "vitest";
import { mapLimited } from "../../functions/domain/map-limited.ts";

const tick = () => new Promise((resolve) => setTimeout(resolve, 1));

it("never runs more than its width at once and gives results in order", async () => {
  let running = 0;
  let most = 0;
  const doubled = await mapLimited(
    Array.from({ length: 20 }, (_, i) => i),
    6,
    async (value) => {
      running += 1;
      most = Math.max(most, running);
      for (let i = 0; i < value % 4; i += 1) await tick();
      running -= 1;
      return value * 2;
    },
  );
  expect(most).toBe(6);
  expect(doubled).toEqual(Array.from({ length: 20 }, (_, i) => i * 2));
});

it("rejects with the first error, and takes no entries", async () => {
  const failing = mapLimited([1, 2, 3], 2, async (value) => {
    if (value === 2) throw new Error("second");
    return value;
  });
  await expect(failing).rejects.toThrow("second");
  expect(await mapLimited([], 6, async () => 1)).toEqual([]);
});
