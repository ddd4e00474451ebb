import express, { type Request, type RequestHandler, type Response, type Router } from 'express'
import { MethodNotAllowedError, notFound, plainErrorFormat } from '../core/errors.ts'
import type { HttpRequest } from '../core/request.ts'
import type { Transport } from '../core/transport.ts'

/** Takes the price of a page from the quotas of an anonymous caller at the request's address. */
export interface PageQuota {
  /** @throws AppError TOO_MANY_REQUESTS */
  consume(request: HttpRequest): Promise<void>
  /** Charges the bytes of the response. */
  charge(request: HttpRequest, bytes: number): Promise<void>
}

/** Pages, and a 404 for everything else. Express serves them: none is on a hot path. */
export function staticRoutes(router: Router, quota: PageQuota): Transport {
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.set('query parser', false)
  app.use(router)
  return {
    errorFormat: plainErrorFormat,
    async serve(request) {
      await quota.consume(request)
      return {
        delegate: (res) =>
          new Promise((resolve, reject) => {
            res.once('close', () => {
              resolve()
              const isSent = request.method !== 'HEAD'
              void quota.charge(request, isSent ? Number(res.getHeader('Content-Length') ?? 0) : 0)
            })
            app(request.raw as Request, res as Response, (error?: unknown) => {
              // Too late for an error body.
              if (res.headersSent) res.destroy()
              else reject(error ?? notFound())
            })
          }),
      }
    },
  }
}

/** Comes after the handlers of a path, and refuses every other method. */
export function onlyMethods(...methods: string[]): RequestHandler {
  return (_req, _res, next) => next(new MethodNotAllowedError(methods))
}
