import express, { type Request, type RequestHandler, type Response, type Router } from 'express'
import { MethodNotAllowedError, notFound, plainErrorFormat } from '../core/errors.ts'
import type { Transport } from '../core/transport.ts'

/** Pages and probes, and a 404 for everything else. Express serves them: none is on a hot path. */
export function staticRoutes(...routers: Router[]): Transport {
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.set('query parser', false)
  app.use(routers)
  return {
    errorFormat: plainErrorFormat,
    async serve({ raw }) {
      return {
        delegate: (res) =>
          new Promise((resolve, reject) => {
            res.once('close', resolve)
            app(raw as Request, res as Response, (error?: unknown) => {
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
