import express, { type ErrorRequestHandler, type RequestHandler, type Router } from 'express'
import { methodNotAllowed, nothingHere, sendError } from '../core/errors.ts'
import { type Exchange, handOver, type Surface } from '../core/request.ts'

declare global {
  namespace Express {
    // Express leaves `locals` as it finds them.
    interface Locals extends Exchange {}
  }
}

/** What people and supervisors look at, and everything that does not exist: under express, which nothing busy needs. */
export function pages(...routers: Router[]): Surface {
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.set('query parser', false)
  app.use(routers)
  app.use((_req, res) => sendError(res, nothingHere()))
  app.use(lastErrorHandler)
  return (req, res) => {
    handOver(res)
    app(req, res)
  }
}

/** What stands behind the handlers of a path: any other method is a 405. */
export function onlyMethods(...allowed: string[]): RequestHandler {
  return (_req, res) => sendError(res, methodNotAllowed(res, allowed))
}

const lastErrorHandler: ErrorRequestHandler = (error, _req, res, next) => {
  if (res.headersSent) next(error)
  else sendError(res, error)
}
