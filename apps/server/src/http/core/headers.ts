import type { IncomingMessage } from 'node:http'
import cors from 'cors'
import helmet from 'helmet'
import type { Proxies } from '../caller/address.ts'
import type { OpenMode } from '../caller/openMode.ts'
import { handOver, type Incoming, type Outgoing } from './request.ts'

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

/** Headers that harden every answer: name, value, name, value. */
export function hardeningHeaders(): string[] {
  return collect(harden)
}

function collect(
  middleware: (req: IncomingMessage, res: never, next: () => void) => void,
): string[] {
  const headers: string[] = []
  const collector = {
    setHeader: (name: string, value: string) => headers.push(name, value),
    removeHeader: () => undefined,
  }
  middleware({} as IncomingMessage, collector as never, () => undefined)
  return headers
}

/** What each answer says, whatever it is. Over plain HTTP there is nothing about TLS (RFC 6797, 7.2). */
export function standingHeaders(proxies: Proxies): (req: Incoming) => readonly string[] {
  // Also where no origin is allowed: a cache must not give that answer to one that is.
  const plain = [...hardeningHeaders(), 'Vary', 'Origin']
  const overTls = [...plain, ...collect(stayOnTls)]
  return (req) => (proxies.isSecure(req) ? overTls : plain)
}

/**
 * Lets pages of the allowed origins call, with a credential in the Authorization header and never with cookies.
 *
 * @returns whether the request was a preflight, and is answered
 */
export function crossOrigin(
  openMode: OpenMode,
): (req: Incoming, res: Outgoing) => Promise<boolean> {
  const answer = cors({
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    origin: true,
    exposedHeaders: ['X-Request-Id', 'Retry-After', 'RateLimit', 'RateLimit-Policy'],
    maxAge: 600,
  })
  return async (req, res) => {
    const { origin } = req.headers
    if (origin === undefined) return false
    // An OPTIONS request that is no preflight asks what the URL can do, and the surfaces answer that.
    const isPreflight = req.headers['access-control-request-method'] !== undefined
    if (req.method === 'OPTIONS' && !isPreflight) return false
    if (!(await openMode.allowsOrigin(origin))) return false
    handOver(res)
    return new Promise((resolve) => {
      answer(req, res, () => resolve(false))
      if (res.writableEnded) resolve(true)
    })
  }
}
