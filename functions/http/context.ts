/** What middleware leaves for the routes. */
import type { Clock } from "../domain/clock.ts";
import type { FirstLook } from "../store/models.ts";
import type { TokenUser } from "../domain/identity/user-token.ts";

export type { TokenUser } from "../domain/identity/user-token.ts";

export type CredentialKind = "operator" | "secret" | "publishable";

/** Whoever the key in `Authorization` stands for. `app` is 0 for the operator. */
export interface Credential {
  readonly kind: CredentialKind;
  readonly keyId: string;
  readonly app: number;
  readonly appId: string;
  /** Empty: every scope of its kind. Otherwise for example `import`, `trainer`. */
  readonly scopes: readonly string[];
  readonly origins: readonly string[];
}

/** A thing that was sent and not used, reported in `warnings` of the answer. */
export interface Warning {
  readonly pointer: string;
  readonly code: string;
  readonly detail: string;
}

/** The row that an `Idempotency-Key` holds while its request runs. */
export interface IdempotencyLease {
  readonly scope: string; // hex
  readonly key: string;
  readonly leaseUntil: number; // ms
  /** Set once the answer was stored in the batch of the effect. */
  isAnswered: boolean;
}

export interface Variables {
  requestId: string;
  clock: Clock;
  credential: Credential;
  user: TokenUser | undefined;
  /** What was read of the app together with a key that this isolate did not know: a list then need not ask again. */
  firstLook: FirstLook | undefined;
  /** Unknown fields that a publishable key sent and that were ignored, for `warnings`. */
  warnings: Warning[];
  /** The body, inflated, read once. */
  body: Promise<Uint8Array<ArrayBuffer>> | undefined;
  idempotency: IdempotencyLease | undefined;
  /** Whom the rate limit of this request counts; undefined where the caller is exempt. */
  rateSubject: string | undefined;
}

export interface Bindings {
  Bindings: Env;
  Variables: Variables;
}
