/** Webhook secrets between their sealed rows and the keys that sign and verify. */
import { seal, sealingKey, unseal } from "../domain/identity/sealed.ts";
import { githubKey } from "../domain/webhooks/github.ts";
import { decodeSecret, signatureKey } from "../domain/webhooks/signature.ts";
import { randomBytes } from "../http/random.ts";
import { liveSecrets, type SealedSecret } from "../store/webhooks.ts";

const PURPOSE = "webhook-secrets";
const contextOf = (app: number, owner: string, id: string): string => `${app}:${owner}:${id}`;

/** A secret as its row. @param owner `standard`, `github` or the id of an endpoint */
export async function sealedSecret(
  env: Env,
  place: { readonly app: number; readonly owner: string; readonly id: string },
  secret: string,
  now: number,
): Promise<SealedSecret> {
  const { app, owner, id } = place;
  const key = await sealingKey(env.WORKER_SECRET, PURPOSE);
  return { id, ciphertext: await seal(key, secret, contextOf(app, owner, id), randomBytes), createdAt: now };
}

/** HMAC keys of an owner's live secrets, newest first; none where it has no secret. */
export async function liveKeys(env: Env, app: number, owner: string): Promise<CryptoKey[]> {
  const key = await sealingKey(env.WORKER_SECRET, PURPOSE);
  return Promise.all(
    (await liveSecrets(env.DB, app, owner)).map(async ({ id, ciphertext }) => {
      const secret = await unseal(key, ciphertext, contextOf(app, owner, id));
      if (owner === "github") return githubKey(secret);
      const decoded = decodeSecret(secret);
      if (decoded.kind !== "decoded") throw new Error(`webhook secret ${id} of app ${app} is damaged`);
      return signatureKey(decoded.bytes);
    }),
  );
}
