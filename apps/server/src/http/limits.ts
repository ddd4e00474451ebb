import { AppError } from '@dowell-chat/api'
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

/** Budgets in memory, by rate-limiter-flexible: a window begins with a caller's first call and lasts a minute. */
export function createLimits(config: Config): Limits {
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
