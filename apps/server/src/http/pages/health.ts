import type { Database } from '@dowell-chat/db'
import type { Logger } from 'pino'
import { MethodNotAllowedError, plainErrorFormat } from '../core/errors.ts'
import { jsonReply } from '../core/reply.ts'
import type { Transport } from '../core/transport.ts'

/** Matches the paths of {@link health}. */
export const HEALTH_PATHS = /^\/(?:healthz|readyz)\/?$/i

/** How long an answer of the database counts, in milliseconds. */
const PING_MS = 1_000

/**
 * `/healthz`: the process runs. `/readyz`: it takes requests, since the database answers and it is not shutting down. No
 * limit applies, so that a flood cannot take the server out of a load balancer; the database is asked at most once a second.
 */
export function health(
  db: Pick<Database, 'ping'>,
  logger: Logger,
  isClosing: () => boolean,
): Transport {
  let answers: Promise<boolean> | undefined

  async function ping(): Promise<boolean> {
    try {
      await db.ping()
      return true
    } catch (error) {
      logger.error({ err: error }, 'the database does not answer')
      return false
    } finally {
      setTimeout(() => {
        answers = undefined
      }, PING_MS).unref()
    }
  }

  const ok = () => jsonReply(200, '{"status":"ok"}')
  const unavailable = (reason: string) =>
    jsonReply(503, JSON.stringify({ status: 'unavailable', reason }))

  return {
    errorFormat: plainErrorFormat,
    async serve({ method, path }) {
      if (method !== 'GET' && method !== 'HEAD') throw new MethodNotAllowedError(['GET'])
      if (/^\/healthz/i.test(path)) return ok()
      if (isClosing()) return unavailable('the server is shutting down')
      answers ??= ping()
      return (await answers) ? ok() : unavailable('the database does not answer')
    },
  }
}
