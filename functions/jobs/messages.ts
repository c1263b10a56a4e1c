/** Messages to whoever listens: made here, written by the store in the batch of what they tell of. */
import { base62, digest } from "../domain/identity/keys.ts";
import { encodePayload, type WebhookEvent } from "../domain/webhooks/payload.ts";
import type { NewMessage } from "../store/webhooks.ts";

/** A message whose id is a function of what it tells, so that it is told once. */
export async function messageOf(event: WebhookEvent, about: string, now: number): Promise<NewMessage> {
  const encoded = encodePayload(event, now);
  if (encoded.kind === "too-large") throw new RangeError(`a message of ${encoded.bytes} bytes`);
  const id = `msg_${base62((await digest(`${about} ${event.type}`)).slice(0, 20))}`;
  return { id, type: event.type, payload: new TextDecoder().decode(encoded.body) };
}

/** Lets the queue look for webhooks that are due; the cron looks anyway. */
export async function wakeDelivery(env: Env, app: number): Promise<void> {
  await env.JOBS.send({ type: "deliver-webhooks", app }).catch(() => undefined);
}
