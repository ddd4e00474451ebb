import { type Deps, pruneEvents } from '@dowell-chat/api'
import type { Logger } from 'pino'
import type { Job } from './job.ts'

const INTERVAL_MS = 60 * 60_000
const DAY_MS = 24 * 60 * 60_000

/** Deletes old events. It runs at the start as well: a server that restarts often may never run for an hour. */
export function eventRetention(
  { db, clock }: Deps,
  logger: Logger,
  options: {
    readonly days: number
    readonly intervalMs?: number | undefined
    readonly isClosing: () => boolean
  },
): Job {
  return {
    intervalMs: options.intervalMs ?? INTERVAL_MS,
    runsAt: 'start',
    async run() {
      try {
        await pruneEvents(db, clock() - options.days * DAY_MS)
      } catch (error) {
        // Interrupted by the shutdown: the next start deletes the rest.
        if (options.isClosing()) return
        logger.error({ err: error }, 'old events were not removed')
      }
    },
  }
}
