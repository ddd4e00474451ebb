import { AppError } from '@dowell-chat/api'
import type { Peers } from '@dowell-chat/db'
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'
import type { Config } from '../../config.ts'
import type { QuotaHeaders } from '../core/quotaHeaders.ts'

/** The window over which points are counted. */
const WINDOW_SECONDS = 60

/** Whose quotas a request uses. */
export interface Caller {
  /** Unique to this caller. */
  readonly key: string
  /** As `networkOf` writes it. */
  readonly address: string
  /** A customer has a smaller quota. */
  readonly isCustomer: boolean
}

/** Each call also sets the headers that say what is left. */
export interface Quotas {
  /**
   * Takes points from the quotas of a caller and of its address.
   *
   * @param refusal the error that the request gets anyway; the cause of a 429 in its place
   * @throws AppError TOO_MANY_REQUESTS
   */
  consume(headers: QuotaHeaders, caller: Caller, points: number, refusal?: unknown): Promise<void>
  /** Takes points for work that is done: never refuses, and a deficit is refused to later calls. */
  charge(headers: QuotaHeaders, caller: Caller, points: number): Promise<void>
  /** @throws AppError TOO_MANY_REQUESTS after too many failures from one address */
  recordAuthFailure(headers: QuotaHeaders, address: string, refusal?: unknown): Promise<void>
  /** Milliseconds until an overdrawn caller has its whole quota again; 0 for one that is not overdrawn. */
  overdrawnMs(caller: Caller): Promise<number>
}

type Name = 'actor' | 'customer' | 'address' | 'failures'

/** Points taken from one quota on one instance. */
type Spend = readonly [name: Name, key: string, points: number]

const TOPIC = 'limits'

/** Spends are broadcast at once when they reach this part of a quota, and otherwise within the interval. */
const BROADCAST_SHARE = 0.02
const BROADCAST_INTERVAL_MS = 1_000

/**
 * Quotas in memory, by rate-limiter-flexible: a window begins with a caller's first call. Instances on one database
 * broadcast what was spent, soon but not at once: asking the database at each call costs more than most calls. So a caller
 * of several instances may exceed a quota a little.
 */
export function createQuotas(config: Config, peers?: Peers): Quotas {
  const limits: Record<Name, number> = {
    actor: config.RATE_LIMIT_ACTOR,
    customer: customerLimit(config),
    address: config.RATE_LIMIT_ADDRESS,
    failures: config.RATE_LIMIT_FAILURES,
  }
  const limiters = new Map(
    Object.entries(limits)
      .filter(([, points]) => points > 0)
      .map(([name, points]) => [
        name,
        new RateLimiterMemory({ keyPrefix: name, points, duration: WINDOW_SECONDS }),
      ]),
  )

  /** Not broadcast yet. */
  let pending = new Map<string, Spend>()
  let nextBroadcast: NodeJS.Timeout | undefined

  function broadcast(): void {
    clearTimeout(nextBroadcast)
    nextBroadcast = undefined
    peers?.send(TOPIC, [...pending.values()])
    pending = new Map()
  }

  function recordSpend(name: Name, key: string, points: number): void {
    if (!peers) return
    const id = `${name} ${key}`
    const sum = points + (pending.get(id)?.[2] ?? 0)
    pending.set(id, [name, key, sum])
    if (sum >= BROADCAST_SHARE * limits[name]) broadcast()
    else nextBroadcast ??= setTimeout(broadcast, BROADCAST_INTERVAL_MS).unref()
  }

  peers?.on(TOPIC, (spends) => {
    for (const [name, key, points] of spends as Spend[]) {
      void limiters.get(name)?.penalty(key, points)
    }
  })

  /** @returns the seconds until the window ends */
  function setHeaders(headers: QuotaHeaders, name: Name, result: RateLimiterRes): number {
    const resetSeconds = Math.max(1, Math.ceil(result.msBeforeNext / 1000))
    // A caller has one quota of its own: its name does not depend on the kind of caller.
    headers.set(name === 'customer' ? 'actor' : name, {
      limit: limits[name],
      windowSeconds: WINDOW_SECONDS,
      remaining: result.remainingPoints,
      resetSeconds,
    })
    return resetSeconds
  }

  async function consumeOne(
    headers: QuotaHeaders,
    name: Name,
    key: string,
    points: number,
    refusal?: unknown,
  ): Promise<void> {
    const limiter = limiters.get(name)
    if (!limiter) return
    const result = await limiter.consume(key, points).catch((excess: unknown) => {
      if (excess instanceof RateLimiterRes) return excess
      throw excess
    })
    const retryAfter = setHeaders(headers, name, result)
    if (result.consumedPoints > limits[name])
      throw new AppError('TOO_MANY_REQUESTS', { retryAfter, cause: refusal })
    // Refused points are not broadcast: the other instances refuse the caller as well.
    recordSpend(name, key, points)
  }

  async function chargeOne(
    headers: QuotaHeaders,
    name: Name,
    key: string,
    points: number,
  ): Promise<void> {
    const limiter = limiters.get(name)
    if (!limiter) return
    setHeaders(headers, name, await limiter.penalty(key, points))
    recordSpend(name, key, points)
  }

  const ownQuota = ({ isCustomer }: Caller) => (isCustomer ? 'customer' : 'actor')

  return {
    async consume(headers, caller, points, refusal) {
      // The caller's first: a caller without points must not use up those of its neighbours.
      await consumeOne(headers, ownQuota(caller), caller.key, points, refusal)
      await consumeOne(headers, 'address', caller.address, points, refusal)
    },
    async charge(headers, caller, points) {
      await chargeOne(headers, ownQuota(caller), caller.key, points)
      await chargeOne(headers, 'address', caller.address, points)
    },
    recordAuthFailure: (headers, address, refusal) =>
      consumeOne(headers, 'failures', address, 1, refusal),
    async overdrawnMs(caller) {
      const name = ownQuota(caller)
      const state = await limiters.get(name)?.get(caller.key)
      return state && state.consumedPoints > limits[name] ? state.msBeforeNext : 0
    },
  }
}

/** A customer never has more than a key or a member of the support team. */
function customerLimit({ RATE_LIMIT_ACTOR, RATE_LIMIT_CUSTOMER }: Config): number {
  if (RATE_LIMIT_ACTOR === 0) return RATE_LIMIT_CUSTOMER
  return RATE_LIMIT_CUSTOMER === 0
    ? RATE_LIMIT_ACTOR
    : Math.min(RATE_LIMIT_ACTOR, RATE_LIMIT_CUSTOMER)
}

/** Bytes that the price of a call includes, and bytes for each further point. */
const FREE_BYTES = 32 * 1024
const BYTES_PER_POINT = 16 * 1024

/** A byte of a body costs this much more than one of an answer: parsing JSON takes longer than writing it. */
export const BODY_FACTOR = 3

/** The points for the bytes of an answer. Reading, writing and sending 16 KiB takes about as long as the cheapest call. */
export function pointsOf(bytes: number): number {
  return bytes <= FREE_BYTES ? 0 : Math.ceil((bytes - FREE_BYTES) / BYTES_PER_POINT)
}
