/** `edgewise apps`, `keys` and `token`. A new key is printed once, because nobody can read it again; keys in use never are. */
import { signUserToken } from "../../functions/domain/identity/user-token.ts";
import { connectAsOperator, localStart, UsageError } from "../settings.ts";

interface AppMade {
  readonly app: { readonly id: string; readonly name: string };
  readonly keys: { readonly secret: string; readonly publishable: string };
}

export async function appsCreate(name: string, flags: { url?: string }): Promise<void> {
  const { app, keys } = await connectAsOperator(flags).request<AppMade>("POST", "/v1/apps", {
    json: { name },
    headers: { "idempotency-key": crypto.randomUUID() }, // a retry after a lost answer makes no second app
  });
  console.log(`app ${app.id} (${app.name})\nsecret key       ${keys.secret}\npublishable key  ${keys.publishable}`);
}

interface KeyFlags {
  readonly app: string;
  readonly kind: string;
  readonly scope?: string[];
  readonly url?: string;
}

export async function keysCreate({ app, kind, scope, url }: KeyFlags): Promise<void> {
  const made = await connectAsOperator({ url }).request<{ id: string; kind: string; key: string }>(
    "POST",
    `/v1/apps/${encodeURIComponent(app)}/keys`,
    {
      json: { kind, ...(scope === undefined ? {} : { scopes: scope }) },
      headers: { "idempotency-key": crypto.randomUUID() },
    },
  );
  console.log(`${made.kind} ${made.id}\n${made.key}`);
}

export async function token(user: string, flags: { events: boolean; hours?: number }): Promise<void> {
  const local = localStart().tokenSecret;
  const kid = process.env["EDGEWISE_TOKEN_KID"] ?? local?.id;
  const secret = process.env["EDGEWISE_TOKEN_SECRET"] ?? local?.key;
  if (kid === undefined || secret === undefined) {
    throw new UsageError(
      "no token secret: set EDGEWISE_TOKEN_KID and EDGEWISE_TOKEN_SECRET, or run npm start, which makes one",
    );
  }
  const most = flags.events ? 720 : 24;
  if (flags.hours !== undefined && flags.hours > most)
    throw new UsageError(`--hours ${flags.hours}: such a token lives ${most} h at most`);
  const lifetime = flags.hours === undefined ? {} : { lifetimeSeconds: flags.hours * 3600 };
  const audience = flags.events ? "events" : "edgewise";
  console.log(await signUserToken(secret, { kid, userId: user, issuedAt: Date.now(), audience, ...lifetime }));
}
