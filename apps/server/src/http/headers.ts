import cors, { type CorsOptions } from 'cors'
import type { RequestHandler } from 'express'
import helmet from 'helmet'
import type { OpenMode } from './openMode.ts'

/** Headers that harden every answer. An API answers with data and never with a page: nothing of it may be run or framed. */
export function hardening(): RequestHandler {
  return helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
    },
    // Answers are read across origins by whom CORS allows, and by nobody else.
    crossOriginResourcePolicy: { policy: 'same-origin' },
  })
}

/** Lets pages of the allowed origins call, with a credential in the Authorization header and never with cookies. */
export function crossOrigin(openMode: OpenMode): RequestHandler {
  const options: CorsOptions = {
    origin(origin, done) {
      if (origin === undefined) done(null, false)
      else openMode.allowsOrigin(origin).then((allowed) => done(null, allowed), done)
    },
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    exposedHeaders: ['X-Request-Id', 'Retry-After', 'RateLimit', 'RateLimit-Policy'],
    maxAge: 600,
  }
  const answer = cors(options)
  return (req, res, next) => {
    // An OPTIONS request that is no preflight asks what the URL can do, and the surfaces answer that.
    const preflight = req.headers['access-control-request-method'] !== undefined
    if (req.method === 'OPTIONS' && !preflight) next()
    else answer(req, res, next)
  }
}
