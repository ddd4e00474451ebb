import type { Database } from '@dowell-chat/db'
import type { Actor } from '../auth/actor.ts'
import type { KeyUse } from '../auth/keyUse.ts'
import type { SigningKeys } from '../auth/signingKeys.ts'
import type { Live } from '../events/live/live.ts'
import type { NewestPages } from '../messages/latestPageCache.ts'
import type { ProcedureName } from './access.ts'
import type { ReadBudget } from './readBudget.ts'

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
  /** Active rooms of one customer, and rooms that one customer opens in a minute and in an hour; 0: no limit. */
  readonly roomsPerCustomer: number
  readonly roomsPerMinute: number
  readonly roomsPerHour: number
}

/**
 * Called by a read before it reads what may be large, with what its answer depends on: the same version is the same answer.
 *
 * @throws Unchanged when the caller has that answer already
 */
export type AtVersion = (version: string) => void

/** @param bytes of JSON */
export type PayForReplay = (bytes: number) => Promise<void>

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
  /** Takes from the budget what an answer of so many bytes costs besides. Never refuses: it is made already. */
  readonly charge: (bytes: number) => Promise<void>
  /**
   * Of an event stream: takes from the budget what replayed events of so many bytes cost, and resolves when the caller may
   * have more. Never refuses: a replay that is dear goes on later.
   */
  readonly payForReplay: PayForReplay
  /** Of a request that may carry several reads. */
  readonly reads?: ReadBudget | undefined
  /** Of a conditional read. */
  readonly atVersion?: AtVersion | undefined
}

/** What an event stream knows of its reader. */
export type StreamReader = Pick<Context, 'address' | 'payForReplay'>

/** Thrown by {@link AtVersion}: the caller has the answer already. */
export class Unchanged extends Error {
  override readonly name = 'Unchanged'
}
