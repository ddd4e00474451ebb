import type { Deps } from '@dowell-chat/api'
import type { Logger } from 'pino'
import type { Job } from './job.ts'

const INTERVAL_MS = 60_000

/** Stores when API keys were last used. */
export function lastUsedFlush({ lastUsed }: Deps, logger: Logger, intervalMs = INTERVAL_MS): Job {
  return {
    intervalMs,
    runsAt: 'close',
    async run() {
      try {
        await lastUsed.flush()
      } catch (error) {
        logger.error({ err: error }, 'the last use of API keys was not recorded')
      }
    },
  }
}
