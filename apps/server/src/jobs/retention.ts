import {
  type Deps,
  moveRetentionClock,
  pruneEvents,
  pruneUserTokenRevocations,
} from '@dowell-chat/api'
import type { Logger } from 'pino'
import type { ClockCheck } from './clockCheck.ts'
import type { Job } from './job.ts'

const INTERVAL_MS = 60 * 60_000
const DAY_MS = 24 * 60 * 60_000

/** The lag of the retention behind the clock from which the operator is told (ms). */
const LAG_WARNING_MS = 24 * 60 * 60_000

/**
 * Deletes old events, and old revocations of user tokens. It runs at the start as well: a server that restarts often may
 * never run for an hour.
 */
export function retention(
  { db, clock }: Deps,
  logger: Logger,
  options: {
    /** How long events are kept. */
    readonly days: number
    readonly intervalMs?: number | undefined
    readonly clockCheck: ClockCheck
    readonly isClosing: () => boolean
  },
): Job {
  async function prune(): Promise<void> {
    await options.clockCheck.run()
    const problem = options.clockCheck.problem()
    if (problem !== undefined) {
      logger.warn(`nothing old is removed: ${problem}`)
      return
    }
    const now = (await db.clock?.()) ?? clock()
    const time = await moveRetentionClock(db, now)
    if (now - time > LAG_WARNING_MS) {
      logger.warn(
        { clock: new Date(now), retentionTime: new Date(time) },
        'the clock went ahead since the retention last ran, or no server ran: old events are removed more slowly until this is made up',
      )
    }
    await pruneUserTokenRevocations(db, time)
    await pruneEvents(db, time - options.days * DAY_MS)
  }
  async function pruneAndLog(): Promise<void> {
    try {
      await prune()
    } catch (error) {
      // Interrupted by the shutdown: the next start deletes the rest.
      if (options.isClosing()) return
      logger.error({ err: error }, 'old events and revocations of user tokens were not removed')
    }
  }
  let running: Promise<void> | undefined
  return {
    intervalMs: options.intervalMs ?? INTERVAL_MS,
    runsAt: 'start',
    run() {
      // A run that takes longer than the interval is not joined by another.
      running ??= pruneAndLog().finally(() => {
        running = undefined
      })
      return running
    },
  }
}
