import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { RequestHandler, Response } from 'express'
import type { Logger } from 'pino'
import { pinoHttp } from 'pino-http'

/** What looks like an API key or a token, should someone put theirs into a path. */
const CREDENTIAL = /dck_[\w-]+|eyJ[\w-]+\.[\w-]+\.[\w-]*/g

/**
 * Gives each request its id and writes one line when it is answered: method, path, status, time. Never a query, a body or
 * a header, since any of them may hold what people wrote or a credential.
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
      res: (res: ServerResponse) => ({ status: res.statusCode }),
    },
    customLogLevel(_req, res, error) {
      if (error || res.statusCode >= 500) return 'error'
      return res.statusCode >= 400 ? 'warn' : 'info'
    },
    // The failure itself, which the caller was not told.
    customErrorObject: (_req, res, _error, value) => ({
      ...value,
      err: (res as Response).locals?.failure ?? value.err,
    }),
    customSuccessMessage: () => 'answered',
    customErrorMessage: () => 'failed',
  })
}

function pathOf(url: string): string {
  const [path = ''] = url.split('?', 1)
  return path.replace(CREDENTIAL, '[credential]').slice(0, 200)
}
