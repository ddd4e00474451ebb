import type { Deps } from '@dowell-chat/api'
import type { Logger } from 'pino'
import type { Job } from './job.ts'

const INTERVAL_MS = 1_000

/** Stops this server's writes once a newer version has changed the schema so that they would spoil data. */
export function schemaWatch({ db }: Deps, logger: Logger): Job {
  let isRefused = false
  return {
    intervalMs: INTERVAL_MS,
    runsAt: 'start',
    async run() {
      try {
        const refusal = await db.watchSchema()
        if (refusal && !isRefused) {
          logger.error({ err: refusal }, 'this server only reads: update it')
        } else if (!refusal && isRefused) {
          logger.info('this server writes again')
        }
        isRefused = refusal !== undefined
      } catch {
        // The database does not answer. Requests find that too.
      }
    },
  }
}
