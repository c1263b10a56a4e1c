/** `edgewise webhooks ...`: who hears of what happens, and who may ask for training. */
import { type ConnectionOptions, connect } from "../settings.ts";

interface Endpoint {
  readonly id: string;
  readonly url: string;
  readonly types: readonly string[];
  readonly status: string;
  readonly disabledReason: string | null;
}

interface Delivery {
  readonly message: string;
  readonly type: string;
  readonly status: string;
  readonly attempts: number;
  readonly dueAt: string | null;
  readonly updatedAt: string;
}

const pathOf = (id: string) => `/v1/webhook-endpoints/${encodeURIComponent(id)}`;

const line = ({ id, url, types, status, disabledReason }: Endpoint): string =>
  `${id}  ${url}  ${types.length === 0 ? "all events" : types.join(", ")}  ${status}${disabledReason === null ? "" : `: ${disabledReason}`}`;

export async function webhooksAdd(url: string, flags: ConnectionOptions & { type?: string[] }): Promise<void> {
  const json = { url, types: flags.type ?? [] };
  type Made = { endpoint: Endpoint; secret: { id: string; secret: string } };
  const made = await connect(flags).request<Made>("POST", "/v1/webhook-endpoints", { json });
  console.log(line(made.endpoint));
  console.log(`  secret, shown once: ${made.secret.secret}`);
}

export async function webhooksList(flags: ConnectionOptions): Promise<void> {
  const { endpoints } = await connect(flags).request<{ endpoints: readonly Endpoint[] }>(
    "GET",
    "/v1/webhook-endpoints",
  );
  if (endpoints.length === 0) console.log("nobody listens; edgewise webhooks add <url> adds an endpoint");
  for (const endpoint of endpoints) console.log(line(endpoint));
}

export async function webhooksRemove(id: string, flags: ConnectionOptions): Promise<void> {
  await connect(flags).request("DELETE", pathOf(id));
  console.log(`${id}  is gone`);
}

export async function webhooksDeliveries(id: string, flags: ConnectionOptions): Promise<void> {
  type Deliveries = { deliveries: readonly Delivery[] };
  const { deliveries } = await connect(flags).request<Deliveries>("GET", `${pathOf(id)}/deliveries`);
  if (deliveries.length === 0) console.log("nothing was sent there in the last thirty days");
  for (const { message, type, status, attempts, dueAt, updatedAt } of deliveries) {
    const next = dueAt === null ? "" : `, next ${dueAt}`;
    console.log(`${updatedAt}  ${message}  ${type}  ${status}, ${attempts} attempts${next}`);
  }
}

export async function webhooksReplay(id: string, message: string, flags: ConnectionOptions): Promise<void> {
  await connect(flags).request("POST", `${pathOf(id)}/deliveries/${encodeURIComponent(message)}/replay`);
  console.log(`${message}  is sent again`);
}

export async function webhooksSecret(scheme: string, flags: ConnectionOptions): Promise<void> {
  const json = { scheme };
  type Made = { id: string; secret: string };
  const made = await connect(flags).request<Made>("POST", "/v1/webhook-secrets", { json });
  console.log(`${made.id}  for POST /v1/webhooks/retrain, shown once: ${made.secret}`);
}
