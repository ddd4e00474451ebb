import { type Deps, pruneUserTokenRevocations } from '@dowell-chat/api'
import type { Logger } from 'pino'
import type { Job } from './job.ts'

const INTERVAL_MS = 60 * 60_000

/** Deletes old revocations of user tokens. */
export function tokenRetention(
  { db, clock }: Deps,
  logger: Logger,
  options: { readonly intervalMs?: number | undefined; readonly isClosing: () => boolean },
): Job {
  return {
    intervalMs: options.intervalMs ?? INTERVAL_MS,
    runsAt: 'start',
    async run() {
      try {
        await pruneUserTokenRevocations(db, clock())
      } catch (error) {
        // Interrupted by the shutdown: the next start deletes the rest.
        if (options.isClosing()) return
        logger.error({ err: error }, 'old revocations of user tokens were not removed')
      }
    },
  }
}
