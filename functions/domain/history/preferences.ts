/** What a user decides: consent, and controls over what is shown. */

export interface UserConsent {
  /** False: recommendations do not use the history. */
  readonly personalization: boolean;
  /** False: log records say so, and the trainer leaves them out. */
  readonly training: boolean;
  /** False: no generated text about or for this user. */
  readonly generatedText: boolean;
  /** Version of the policy the user agreed to, as the app names it. */
  readonly policyVersion: string | null;
}

export interface UserControls {
  /** Show fewer items whose origin is `machine`. */
  readonly lessMachineMade: boolean;
  readonly moreTopics: readonly string[];
  readonly lessTopics: readonly string[];
}

/** Consent until the app says otherwise: the app's back end is who asks the user. */
export const DEFAULT_CONSENT: UserConsent = {
  personalization: true,
  training: true,
  generatedText: true,
  policyVersion: null,
};

export const DEFAULT_CONTROLS: UserControls = { lessMachineMade: false, moreTopics: [], lessTopics: [] };

export type AttributeScalar = string | number | boolean;
export type UserAttributes = Readonly<Record<string, AttributeScalar>>;

/** Attributes that a profile holds in all: they are one row of the user's object, which is at most 2 MB. */
export const PROFILE_ATTRIBUTES = 256;
