import type { ServerResponse } from 'node:http'
import type { Logger } from 'pino'
import type { Outcome } from './reply.ts'
import type { HttpRequest } from './request.ts'
import { decodeUnreserved } from './url.ts'

/** Matches API keys and tokens in a path, and their beginnings. */
const CREDENTIAL = /dck_[\w-]+|eyJ[\w-]+\.[\w.-]*/gi

/** Matches the id of a user in a path, which may have slashes that are not encoded. */
const USER = /(\/users(?:[/;\\]|%2f|%5c)+).*?(?=\/events\/?$|$)/gi

/** The path is cut before it is searched: 16 kB that begin like a token take 40 ms. */
const MAX_PATH_CHARS = 200

/**
 * Writes one line for a request when its response closes: method, path, caller, status, time. Never the query, the body,
 * a header or the id of a user, since each may hold messages, a credential or a name. The line of an event stream says why
 * it ended.
 */
export function logRequest(
  logger: Logger,
  { id, method, path, caller }: HttpRequest,
  res: ServerResponse,
  outcome: () => Outcome,
): void {
  const startedAt = performance.now()
  // After the last byte was handed to the system, or when the client left.
  res.once('close', () => {
    const { failure, streamEnd } = outcome()
    // Until headers are sent, Node's status code is a default.
    const { headersSent } = res
    const line = {
      req: { id, method, path: maskPath(path) },
      caller,
      res: headersSent ? { status: res.statusCode } : {},
      responseTime: Math.round(performance.now() - startedAt),
      ...(streamEnd ? { streamEnd: streamEnd.reason } : {}),
    }
    if (failure) logger.error({ ...line, err: toError(failure) }, 'failed')
    else if (!headersSent) logger.warn(line, 'the client left')
    else logger[streamEnd?.isFault ? 'warn' : levelOf(res.statusCode)](line, 'answered')
  })
}

/** Hides credentials and users, in every spelling of a URL. */
function maskPath(path: string): string {
  return decodeUnreserved(path.slice(0, MAX_PATH_CHARS))
    .replace(CREDENTIAL, '[credential]')
    .replace(USER, '$1…')
}

function toError(failure: unknown): Error {
  return failure instanceof Error ? failure : new Error(String(failure))
}

function levelOf(status: number): 'info' | 'warn' | 'error' {
  if (status >= 500) return 'error'
  return status >= 400 ? 'warn' : 'info'
}
