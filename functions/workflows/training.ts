/** The timers of a training job: looks at it, does what is next, and sleeps until something changes or a lease ends. */
import { WorkflowEntrypoint, type WorkflowEvent, type WorkflowStep } from "cloudflare:workers";
import { systemClock } from "../http/clock.ts";
import { advance } from "../jobs/training.ts";

export interface TrainingParams {
  readonly app: number;
  readonly id: string;
}

/** Longest wait without looking again: a job that waits for a trainer may wait for weeks. */
const LONGEST_WAIT_MS = 24 * 3600 * 1000;
const SHORTEST_WAIT_MS = 1000;
/** A look and a wait are two steps of the 1,024 that an instance may have; the cron starts a new one where they run out. */
const MAX_TURNS = 500;

export class TrainingWorkflow extends WorkflowEntrypoint<Env, TrainingParams> {
  override async run(event: Readonly<WorkflowEvent<TrainingParams>>, step: WorkflowStep): Promise<void> {
    const { app, id } = event.payload;
    for (let turn = 1; turn <= MAX_TURNS; turn += 1) {
      const waitMs = await step.do(
        `advance ${turn}`,
        { retries: { limit: 5, delay: "5 seconds", backoff: "exponential" } },
        async () => {
          const now = systemClock(this.env).now();
          const waiting = await advance(this.env, app, id, now);
          if (waiting.isFinished) return 0;
          return Math.min(Math.max((waiting.untilMs ?? Infinity) - now, SHORTEST_WAIT_MS), LONGEST_WAIT_MS);
        },
      );
      if (waitMs === 0) return;
      // a wait that times out throws; then the job is looked at again all the same
      await step.waitForEvent(`news ${turn}`, { type: "changed", timeout: waitMs }).catch(() => undefined);
    }
  }
}
