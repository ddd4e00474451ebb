import type { Database } from '@dowell-chat/db'
import type { ProcedureName } from './auth/access.ts'
import type { Actor } from './auth/actor.ts'
import type { KeyUse } from './auth/keyUse.ts'
import type { SigningKeys } from './auth/signingKeys.ts'
import type { Live } from './events/live.ts'
import type { NewestPages } from './messages/newestPages.ts'

/** What the procedures work with; built once, by the composition root. */
export interface Deps {
  readonly db: Database
  /** Milliseconds since the Unix epoch. */
  readonly clock: () => number
  /** Random bytes from a source that nobody can predict. */
  readonly randomBytes: (length: number) => Uint8Array
  readonly limits: Limits
  readonly signingKeys: SigningKeys
  readonly keyUse: KeyUse
  readonly live: Live
  readonly newestPages: NewestPages
  /** Whether every answer is checked against its schema: for tests, since types say the same. */
  readonly checkAnswers: boolean
}

export interface Limits {
  /** The longest message text, in Unicode characters (code points). */
  readonly messageMaxChars: number
}

/** What one request knows. */
export interface Context {
  readonly deps: Deps
  readonly actor: Actor
  /** The network that the caller is in, as budgets know it: an IPv4 address, or the first half of an IPv6 address. */
  readonly address: string
  /** Also in the response's X-Request-Id header, in the log and in every error body. */
  readonly requestId: string
  /** Takes a call's cost from the caller's budget. @throws AppError TOO_MANY_REQUESTS when it is used up */
  readonly spend: (procedure: ProcedureName) => Promise<void>
}
