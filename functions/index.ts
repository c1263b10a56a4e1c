/** Wires the Worker together. Nothing here decides anything. */
import { app } from "./app.ts";
import { queue } from "./jobs/queue.ts";
import { scheduled } from "./jobs/scheduled.ts";

export { AppLog } from "./objects/app-log.ts";
export { UserState } from "./objects/user-state.ts";

export default { fetch: app.fetch, scheduled, queue } satisfies ExportedHandler<Env>;
