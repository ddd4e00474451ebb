import { AppError } from '@dowell-chat/api'
import type { Peers } from '@dowell-chat/db'
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'
import type { Config } from '../config.ts'
import { type Outgoing, tellBudget } from './exchange.ts'

/** Seconds over which a budget is counted. */
const WINDOW = 60

export interface Limits {
  /**
   * Takes points from the budgets of a caller and of its address, and says in the response what is left.
   *
   * @throws AppError TOO_MANY_REQUESTS
   */
  spend(res: Outgoing, caller: string, address: string, points: number): Promise<void>
  /** Counts a failed authentication. @throws AppError TOO_MANY_REQUESTS when there were too many */
  failed(res: Outgoing, address: string): Promise<void>
}

type Name = 'actor' | 'address' | 'failures'

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

  async function take(res: Outgoing, name: Name, key: string, points: number): Promise<void> {
    const limiter = limiters.get(name)
    if (!limiter) return
    const result = await limiter.consume(key, points).catch((refused: unknown) => {
      if (refused instanceof RateLimiterRes) return refused
      throw refused
    })
    const seconds = Math.max(1, Math.ceil(result.msBeforeNext / 1000))
    tellBudget(res, name, {
      policy: `q=${budgets[name]};w=${WINDOW}`,
      state: `r=${result.remainingPoints};t=${seconds}`,
    })
    if (result.consumedPoints > budgets[name]) {
      throw new AppError('TOO_MANY_REQUESTS', { retryAfter: seconds })
    }
    // Of what was refused the others need not hear: they refuse it as well.
    note(name, key, points)
  }

  return {
    async spend(res, caller, address, points) {
      // The caller first: one who has used up their own budget must not use up their neighbours' as well.
      await take(res, 'actor', caller, points)
      await take(res, 'address', address, points)
    },
    failed: (res, address) => take(res, 'failures', address, 1),
  }
}
