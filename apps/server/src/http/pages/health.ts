import { type Database, DatabaseError } from '@dowell-chat/db'
import type { Logger } from 'pino'
import { MethodNotAllowedError, plainErrorFormat } from '../core/errors.ts'
import { jsonReply } from '../core/reply.ts'
import type { Transport } from '../core/transport.ts'

/** Matches the paths of {@link health}. */
export const HEALTH_PATHS = /^\/(?:healthz|readyz)\/?$/i

/** How long an answer of the database counts, in milliseconds. */
const PING_MS = 1_000

/** Reasons whose text is safe to send: others name the server. */
const PUBLIC = new Set<DatabaseError['reason']>(['read-only', 'newer-schema', 'older-schema'])

function reasonOf(error: unknown): string {
  const isPublic = error instanceof DatabaseError && PUBLIC.has(error.reason)
  return isPublic ? error.message : 'the database does not answer'
}

/**
 * `/healthz`: the process runs. `/readyz`: it takes requests, since the database reads and writes and it is not shutting
 * down. No limit applies, so that a flood cannot take the server out of a load balancer; the database is asked at most once
 * a second.
 */
export function health(
  db: Pick<Database, 'ping'>,
  logger: Logger,
  checks: {
    readonly isClosing: () => boolean
    /** Why this instance should get no requests, besides the database. */
    readonly problem: () => string | undefined
  },
): Transport {
  let problem: Promise<string | undefined> | undefined

  /** @returns why the database is not ready */
  async function ping(): Promise<string | undefined> {
    try {
      await db.ping()
      return undefined
    } catch (error) {
      const reason = reasonOf(error)
      logger.error({ err: error }, reason)
      return reason
    } finally {
      setTimeout(() => {
        problem = undefined
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
      if (checks.isClosing()) return unavailable('the server is shutting down')
      problem ??= ping()
      const reason = (await problem) ?? checks.problem()
      return reason === undefined ? ok() : unavailable(reason)
    },
  }
}
