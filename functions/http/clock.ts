/** The system clock, moved by an offset that only the tests' configuration binds (a test refuses it in wrangler.toml). */
import type { Clock } from "../domain/clock.ts";

export function systemClock(env: object): Clock {
  const offset = "TEST_CLOCK_OFFSET_MS" in env ? Number(env.TEST_CLOCK_OFFSET_MS) : 0;
  return { now: () => Date.now() + offset };
}
