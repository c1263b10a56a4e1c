/** Wires the Worker together. Nothing here decides anything. */
import { env } from "cloudflare:workers";
import { app } from "./app.ts";
import { queue } from "./jobs/queue.ts";
import { scheduled } from "./jobs/scheduled.ts";
import { rehearseAtStart } from "./rehearsal/rehearse.ts";

export { AppLog } from "./objects/app-log.ts";
export { UserState } from "./objects/user-state.ts";
export { TrainingWorkflow } from "./workflows/training.ts";

void rehearseAtStart(env);

export default { fetch: app.fetch, scheduled, queue } satisfies ExportedHandler<Env>;
