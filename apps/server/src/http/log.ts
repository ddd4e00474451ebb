import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { RequestHandler } from 'express'
import type { Logger } from 'pino'
import { pinoHttp } from 'pino-http'

declare module 'node:http' {
  interface ServerResponse {
    /** Of an event stream: why it ended, and whether that is worth a warning. */
    streamEnd?: { readonly reason: string; readonly isFault: boolean }
  }
}

/** What looks like an API key or a token, should someone put theirs into a path. */
const CREDENTIAL = /dck_[\w-]+|eyJ[\w-]+\.[\w-]+\.[\w-]*/g

/**
 * Gives each request its id and writes one line when it is answered: method, path, status, time. Never a query, a body or
 * a header, since any of them may hold what people wrote or a credential. Of an event stream the line is written at its
 * end, and says why it ended.
 */
export function requestLog(logger: Logger): RequestHandler {
  return pinoHttp({
    logger,
    genReqId(req: IncomingMessage, res: ServerResponse) {
      const given = req.headers['x-request-id']
      const id = typeof given === 'string' && /^[\w.-]{1,64}$/.test(given) ? given : randomUUID()
      res.setHeader('X-Request-Id', id)
      return id
    },
    wrapSerializers: false,
    serializers: {
      req: (req: IncomingMessage & { id: unknown; originalUrl?: string }) => ({
        id: req.id,
        method: req.method,
        path: pathOf(req.originalUrl ?? req.url ?? ''),
      }),
      // Node begins with 200, before there is an answer.
      res: (res: ServerResponse) => (res.headersSent ? { status: res.statusCode } : {}),
    },
    // `res.err` is the failure itself, which the caller was not told: in a batch it may be that of one call.
    customLogLevel(_req, res, error) {
      if (error || res.err || res.statusCode >= 500) return 'error'
      const isFault = res.statusCode >= 400 || !res.headersSent || res.streamEnd?.isFault
      return isFault ? 'warn' : 'info'
    },
    customSuccessObject: (_req, { streamEnd }: ServerResponse, line: object) =>
      streamEnd ? { ...line, streamEnd: streamEnd.reason } : line,
    customSuccessMessage: (_req, res) => (res.headersSent ? 'answered' : 'the client left'),
    customErrorMessage: () => 'failed',
  })
}

/** A request may name a whole URL, and that may hold a password; or a key where no key belongs. */
function pathOf(url: string): string {
  const [path = ''] = url.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?]*/i, '').split('?', 1)
  return path.replace(CREDENTIAL, '[credential]').slice(0, 200)
}
