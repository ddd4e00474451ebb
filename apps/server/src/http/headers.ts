import cors, { type CorsOptions } from 'cors'
import type { RequestHandler } from 'express'
import helmet from 'helmet'
import type { OpenMode } from './openMode.ts'

/** An API answers with data and never with a page: nothing of it may be run or framed. */
const harden = helmet({
  contentSecurityPolicy: {
    useDefaults: false,
    directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
  },
  xFrameOptions: { action: 'deny' },
  // Answers are read across origins by whom CORS allows, and by nobody else.
  crossOriginResourcePolicy: { policy: 'same-origin' },
  strictTransportSecurity: false,
})

/** The host's other names are not ours to speak for. */
const stayOnTls = helmet.strictTransportSecurity({ includeSubDomains: false })

/** Headers that harden every answer. Over plain HTTP there is none about TLS (RFC 6797, 7.2). */
export function hardening(): RequestHandler {
  return (req, res, next) => {
    if (req.secure) stayOnTls(req, res, () => harden(req, res, next))
    else harden(req, res, next)
  }
}

/** The same headers, for an answer to what is no request. */
export function hardeningHeaders(): Record<string, string> {
  const headers: Record<string, string> = {}
  const collector = {
    setHeader: (name: string, value: string) => Object.assign(headers, { [name]: value }),
    removeHeader: () => undefined,
  }
  harden({} as never, collector as never, () => undefined)
  return headers
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
    // Also where no origin is allowed: a cache must not give that answer to one that is.
    res.vary('Origin')
    // An OPTIONS request that is no preflight asks what the URL can do, and the surfaces answer that.
    const preflight = req.headers['access-control-request-method'] !== undefined
    if (req.method === 'OPTIONS' && !preflight) next()
    else answer(req, res, next)
  }
}
