import type { Database, RoomScope } from '@dowell-chat/db'
import type { Actor } from '../auth/actor.ts'
import type { LastUsedTracker } from '../auth/lastUsed.ts'
import type { SigningKeys } from '../auth/signingKeys.ts'
import type { CursorEpoch } from '../encoding/cursorEpoch.ts'
import type { Live } from '../events/live/live.ts'
import type { LatestPageCache } from '../messages/latestPageCache.ts'
import type { SettingsCache } from '../organisations/settingsCache.ts'
import type { IfMatch } from './preconditions.ts'
import type { ReadBudget } from './readBudget.ts'

/** What operations work with. The composition root builds it once; the only shared type that names features. */
export interface Deps {
  readonly db: Database
  /** Milliseconds since the Unix epoch. */
  readonly clock: () => number
  /** Cryptographically secure random bytes. */
  readonly randomBytes: (length: number) => Uint8Array
  readonly limits: Limits
  readonly signingKeys: SigningKeys
  readonly lastUsed: LastUsedTracker
  readonly live: Live
  readonly latestPages: LatestPageCache
  readonly settings: SettingsCache
  readonly cursorEpoch: CursorEpoch
  /** Whether each output is compared with its schema. For tests: types promise the same. */
  readonly checkOutputs: boolean
}

export interface Limits {
  /** The longest message text, in Unicode code points. */
  readonly messageMaxChars: number
  /** Active rooms of one customer, and rooms one customer may open in a minute and in an hour; 0: no limit. */
  readonly roomsPerCustomer: number
  readonly roomsPerMinute: number
  readonly roomsPerHour: number
}

/** The price of a call: `pointsOf` has the points. `issue` is for calls that create a credential. */
export type Cost = 'read' | 'write' | 'issue'

/**
 * A read calls it before it reads content that may be large, with the version its output depends on. The same version
 * means the same output.
 *
 * @throws Unchanged when the caller has that output already
 */
export type AtVersion = (version: string) => void

/** Thrown by {@link AtVersion}. */
export class Unchanged extends Error {
  override readonly name = 'Unchanged'
}

/** One request: the caller, and what the caller may still spend. */
export interface Context {
  readonly deps: Deps
  readonly actor: Actor
  /** The caller's network as rate limits count it: an IPv4 address, or the first half of an IPv6 address. */
  readonly address: string
  /** Also in the X-Request-Id header, in the log and in each error body. */
  readonly requestId: string
  /** Consumes the cost of a call. @throws AppError TOO_MANY_REQUESTS when the quota is used up */
  readonly spend: (cost: Cost) => Promise<void>
  /** Consumes quota for the bytes of an output. Never refuses: the output exists already. */
  readonly charge: (bytes: number) => Promise<void>
  /** The same for the replayed events of a stream. It delays an expensive replay and never refuses it. */
  readonly payForReplay: (bytes: number) => Promise<void>
  /** Set when the request may carry several reads. */
  readonly reads?: ReadBudget | undefined
  /** Set for a conditional read. */
  readonly atVersion?: AtVersion | undefined
  /** Set for a conditional write. */
  readonly ifMatch?: IfMatch | undefined
}

/** What an operation runs with: the request, and the rows its caller may access. */
export interface Call extends Context {
  readonly scope: RoomScope
}
