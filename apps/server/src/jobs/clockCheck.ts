import type { Deps } from '@dowell-chat/api'
import type { Logger } from 'pino'
import type { Job } from './job.ts'

const INTERVAL_MS = 10_000

/** The difference from which the log warns (ms). Tokens have a leeway of a minute. */
const WARNING_MS = 30_000

/** The difference from which this instance is not ready and deletes nothing (ms). */
export const MAX_SKEW_MS = 5 * 60_000

export interface ClockCheck extends Job {
  /** Why this instance should not serve; undefined while its clock is near the database's. */
  problem(): string | undefined
}

/** Compares this instance's clock with the one of the database's server, which all instances share. */
export function clockCheck({ db, clock }: Deps, logger: Logger): ClockCheck {
  let skew = 0

  function describe(): string {
    const seconds = Math.round(Math.abs(skew) / 1000)
    return `the clock of this instance is ${seconds} s ${skew > 0 ? 'ahead of' : 'behind'} the database's`
  }

  return {
    intervalMs: INTERVAL_MS,
    runsAt: 'start',
    async run() {
      if (db.clock === undefined) return
      try {
        const before = clock()
        const theirs = await db.clock()
        const wasFar = Math.abs(skew) > WARNING_MS
        // In between, the database read its clock.
        skew = (before + clock()) / 2 - theirs
        if (Math.abs(skew) > WARNING_MS && !wasFar) logger.warn(describe())
      } catch {
        // The database does not answer. Requests find that too.
      }
    },
    problem: () => (Math.abs(skew) > MAX_SKEW_MS ? describe() : undefined),
  }
}
