/**
 * Redirects, followed by hand so that each hop is checked like the first. Standard Webhooks 1.0.0 counts every 3xx as a failure and
 * recommends to change the endpoint's URL. We are milder with 307 and 308 alone, which keep method and body (RFC 9110, sections
 * 15.4.8 and 15.4.9): after 301, 302 or 303 a client sends a GET without a body, and its 200 would pass for a delivery.
 */
import { checkTarget, type Resolve, type TargetOptions, type TargetVerdict } from "./target.ts";

/** Redirects followed in one attempt. */
export const MAX_REDIRECTS = 3;

export interface RedirectAnswer {
  /** The URL that answered; a relative Location is resolved against it. */
  readonly url: URL;
  readonly status: number;
  readonly location: string | null;
  /** Redirects followed in this attempt before this one. */
  readonly followed: number;
}

export type RedirectVerdict =
  | TargetVerdict
  /** The answer stands as it is: a failure of status 3xx. */
  | { readonly kind: "not-followed"; readonly reason: "method-changes" | "no-location" | "too-many" };

export function isRedirect(status: number): boolean {
  return status >= 300 && status <= 399;
}

/** Where the same POST goes next: `allowed` with its URL, or why it doesn't. */
export async function checkRedirect(
  answer: RedirectAnswer,
  resolve: Resolve,
  options: TargetOptions,
): Promise<RedirectVerdict> {
  if (answer.status !== 307 && answer.status !== 308) return { kind: "not-followed", reason: "method-changes" };
  if (!answer.location) return { kind: "not-followed", reason: "no-location" };
  if (answer.followed >= MAX_REDIRECTS) return { kind: "not-followed", reason: "too-many" };
  const target = URL.parse(answer.location, answer.url.href)?.href ?? "";
  return await checkTarget(target, resolve, options);
}
