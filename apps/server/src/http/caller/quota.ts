import { AppError } from '@dowell-chat/api'
import type { Peers } from '@dowell-chat/db'
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'
import type { Config } from '../../config.ts'
import { type Outgoing, tellBudget } from '../core/request.ts'

/** Seconds over which a budget is counted. */
const WINDOW = 60

/** Whose budgets a request spends. */
export interface Caller {
  /** Tells one caller from every other. */
  readonly key: string
  /** Where it calls from, as `networkOf` writes it. */
  readonly address: string
  /** Whether it is a customer, whose budget is smaller. */
  readonly isCustomer: boolean
}

export interface Limits {
  /**
   * Takes points from the budgets of a caller and of its address, and says in the response what is left.
   *
   * @throws AppError TOO_MANY_REQUESTS
   */
  spend(res: Outgoing, caller: Caller, points: number): Promise<void>
  /** The same for what was done already: never refuses, and what goes beyond the budget is refused to later calls. */
  charge(res: Outgoing, caller: Caller, points: number): Promise<void>
  /** Milliseconds until a caller's own budget is whole again; 0 while it is not spent. */
  overdrawnFor(caller: Caller): Promise<number>
  /** Counts a failed authentication. @throws AppError TOO_MANY_REQUESTS when there were too many */
  failed(res: Outgoing, address: string): Promise<void>
}

type Name = 'actor' | 'customer' | 'address' | 'failures'

/** What was taken from one budget on one instance. */
type Spent = readonly [name: Name, key: string, points: number]

const TOPIC = 'limits'

/** The part of a budget that may be spent before the other instances are told, and what they may wait for less, in ms. */
const SHARE = 0.02
const INTERVAL = 1_000

/**
 * Budgets in memory, by rate-limiter-flexible: a window begins with a caller's first call and lasts a minute. Instances on
 * one database tell each other what was spent, soon but not at once: to ask the database at each call costs more than most
 * calls. A caller who goes to several instances may so spend a little more than the budget.
 */
export function createLimits(config: Config, peers?: Peers): Limits {
  const budgets: Record<Name, number> = {
    actor: config.RATE_LIMIT_ACTOR,
    customer: customerBudget(config),
    address: config.RATE_LIMIT_ADDRESS,
    failures: config.RATE_LIMIT_FAILURES,
  }
  const limiters = new Map(
    Object.entries(budgets)
      .filter(([, points]) => points > 0)
      .map(([name, points]) => [
        name,
        new RateLimiterMemory({ keyPrefix: name, points, duration: WINDOW }),
      ]),
  )

  /** Not told yet. */
  let spent = new Map<string, Spent>()
  let telling: NodeJS.Timeout | undefined

  function tell(): void {
    clearTimeout(telling)
    telling = undefined
    peers?.send(TOPIC, [...spent.values()])
    spent = new Map()
  }

  function note(name: Name, key: string, points: number): void {
    if (!peers) return
    const id = `${name} ${key}`
    const sum = points + (spent.get(id)?.[2] ?? 0)
    spent.set(id, [name, key, sum])
    if (sum >= SHARE * budgets[name]) tell()
    else telling ??= setTimeout(tell, INTERVAL).unref()
  }

  peers?.on(TOPIC, (told) => {
    for (const [name, key, points] of told as Spent[]) void limiters.get(name)?.penalty(key, points)
  })

  function tellLeft(res: Outgoing, name: Name, result: RateLimiterRes): number {
    const seconds = Math.max(1, Math.ceil(result.msBeforeNext / 1000))
    // A caller has one budget of its own, whatever kind of caller it is.
    tellBudget(res, name === 'customer' ? 'actor' : name, {
      policy: `q=${budgets[name]};w=${WINDOW}`,
      state: `r=${result.remainingPoints};t=${seconds}`,
    })
    return seconds
  }

  async function take(res: Outgoing, name: Name, key: string, points: number): Promise<void> {
    const limiter = limiters.get(name)
    if (!limiter) return
    const result = await limiter.consume(key, points).catch((refused: unknown) => {
      if (refused instanceof RateLimiterRes) return refused
      throw refused
    })
    const seconds = tellLeft(res, name, result)
    if (result.consumedPoints > budgets[name]) {
      throw new AppError('TOO_MANY_REQUESTS', { retryAfter: seconds })
    }
    // Of what was refused the others need not hear: they refuse it as well.
    note(name, key, points)
  }

  async function add(res: Outgoing, name: Name, key: string, points: number): Promise<void> {
    const limiter = limiters.get(name)
    if (!limiter) return
    tellLeft(res, name, await limiter.penalty(key, points))
    note(name, key, points)
  }

  const ownBudget = ({ isCustomer }: Caller) => (isCustomer ? 'customer' : 'actor')

  return {
    async spend(res, caller, points) {
      // The caller first: one who has used up their own budget must not use up their neighbours' as well.
      await take(res, ownBudget(caller), caller.key, points)
      await take(res, 'address', caller.address, points)
    },
    async charge(res, caller, points) {
      await add(res, ownBudget(caller), caller.key, points)
      await add(res, 'address', caller.address, points)
    },
    async overdrawnFor(caller) {
      const name = ownBudget(caller)
      const state = await limiters.get(name)?.get(caller.key)
      return state && state.consumedPoints > budgets[name] ? state.msBeforeNext : 0
    },
    failed: (res, address) => take(res, 'failures', address, 1),
  }
}

/** A customer has never more than a key or a member of the support team. */
function customerBudget({ RATE_LIMIT_ACTOR, RATE_LIMIT_CUSTOMER }: Config): number {
  if (RATE_LIMIT_ACTOR === 0) return RATE_LIMIT_CUSTOMER
  return RATE_LIMIT_CUSTOMER === 0
    ? RATE_LIMIT_ACTOR
    : Math.min(RATE_LIMIT_ACTOR, RATE_LIMIT_CUSTOMER)
}

/** Bytes that a request and its answer may have for the price of the call alone, and bytes for one point more. */
const FREE_BYTES = 32 * 1024
const BYTES_PER_POINT = 16 * 1024

/** How much dearer the bytes of a body are than those of an answer: to parse JSON takes longer than to write it. */
export const BODY_FACTOR = 3

/** What the bytes of an answer cost. To read, write and send 16 KiB takes about as long as the cheapest call. */
export function pointsOf(bytes: number): number {
  return bytes <= FREE_BYTES ? 0 : Math.ceil((bytes - FREE_BYTES) / BYTES_PER_POINT)
}
