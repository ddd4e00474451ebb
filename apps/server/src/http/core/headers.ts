import type { IncomingMessage } from 'node:http'
import cors from 'cors'
import helmet from 'helmet'
import type { HeaderList, MessageReply } from './reply.ts'

/** Replies are data and never a page: nothing in them may run or be framed. */
const harden = helmet({
  contentSecurityPolicy: {
    useDefaults: false,
    directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
  },
  xFrameOptions: { action: 'deny' },
  // CORS alone decides which other origins may read a reply.
  crossOriginResourcePolicy: { policy: 'same-origin' },
  strictTransportSecurity: false,
})

/** Without subdomains: they belong to other services. */
const stayOnTls = helmet.strictTransportSecurity({ includeSubDomains: false })

/** The part of a response that cors and helmet write to. */
class HeaderCollector {
  readonly #headers = new Map<string, string>()
  statusCode = 200
  isEnded = false

  constructor(headers: HeaderList = []) {
    for (let i = 0; i < headers.length; i += 2) {
      this.setHeader(headers[i] as string, headers[i + 1] as string)
    }
  }

  getHeader(name: string): string | undefined {
    return this.#headers.get(name)
  }

  setHeader(name: string, value: string): void {
    this.#headers.set(name, value)
  }

  removeHeader(): void {}

  end(): void {
    this.isEnded = true
  }

  list(): HeaderList {
    return [...this.#headers].flat()
  }
}

function collect(
  middleware: (req: IncomingMessage, res: never, next: () => void) => void,
): HeaderList {
  const collector = new HeaderCollector()
  middleware({} as IncomingMessage, collector as never, () => undefined)
  return collector.list()
}

/** The security headers of every reply. */
export function securityHeaders(): HeaderList {
  return collect(harden)
}

/** The headers of every reply. Over plain HTTP there is nothing about TLS (RFC 6797, 7.2). */
export function defaultHeaders(
  isSecure: (req: IncomingMessage) => boolean,
): (req: IncomingMessage) => HeaderList {
  // Also where no origin is allowed: a cache must not give that reply to one that is.
  const plain = [...securityHeaders(), 'Vary', 'Origin']
  const overTls = [...plain, ...collect(stayOnTls)]
  return (req) => (isSecure(req) ? overTls : plain)
}

/** The CORS handling of a request. */
export interface CorsResult {
  readonly headers: HeaderList
  /** The whole reply, if the request is a preflight. */
  readonly preflight: MessageReply | undefined
}

/** What pages of other origins may read besides the headers that they always may. */
const EXPOSED_HEADERS = [
  'X-Request-Id',
  'ETag',
  'Location',
  'Retry-After',
  'RateLimit',
  'RateLimit-Policy',
]

export interface CorsOrigins {
  readonly allowsEveryOrigin: boolean
  allowsOrigin(origin: string): Promise<boolean>
}

/**
 * Adds the CORS headers for pages of the allowed origins. They may send a credential in the Authorization header, and no
 * cookies.
 *
 * @returns what a request with an Origin header gets
 */
export function createCors({
  allowsEveryOrigin,
  allowsOrigin,
}: CorsOrigins): (req: IncomingMessage, headers: HeaderList) => Promise<CorsResult> {
  const middleware = cors({
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    // Without cookies `*` is enough, and caches may share the reply.
    origin: allowsEveryOrigin ? '*' : true,
    exposedHeaders: EXPOSED_HEADERS,
    maxAge: 600,
  })
  return async (req, headers) => {
    const { origin } = req.headers
    // Another OPTIONS request asks which methods the URL takes: its transport answers.
    const isPreflight = req.headers['access-control-request-method'] !== undefined
    const isCors = origin !== undefined && (req.method !== 'OPTIONS' || isPreflight)
    if (!isCors || !(await allowsOrigin(origin))) return { headers, preflight: undefined }
    const collector = new HeaderCollector(headers)
    middleware(req, collector as never, () => undefined)
    return {
      headers: collector.list(),
      preflight: collector.isEnded ? { status: collector.statusCode, headers: [] } : undefined,
    }
  }
}
