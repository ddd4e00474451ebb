import { randomUUID } from 'node:crypto'
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { AppError, type ErrorCode, errorTable } from '@dowell-chat/api'
import type { Logger } from 'pino'
import { normaliseAddress } from '../caller/address.ts'
import type { Dispatch, Fail } from './dispatch.ts'
import { plainErrorFormat } from './errors.ts'
import { securityHeaders } from './headers.ts'

/** How long a client may take, in milliseconds. */
export const defaultTimeouts = {
  /** For all headers, and for the whole request: a slow client holds a socket no longer. */
  headers: 10_000,
  request: 30_000,
  /** How often those two are checked. */
  check: 1_000,
  /** Without a byte in either direction while a request is served: the client does not read its reply. */
  stall: 60_000,
  /** Between requests. Longer than the 60 s of common load balancers, so that they close the connection. */
  idle: 65_000,
  /** Between the refusal of a request and the end of its connection. */
  closeDelay: 1_000,
}

const KEEP_ALIVE_DELAY_MS = 10_000

/** Creates an HTTP server that answers a request that cannot be parsed with an error body, too. */
export function createHttpServer(
  dispatch: Dispatch,
  logger: Logger,
  timeouts = defaultTimeouts,
): Server {
  // The last request of each connection whose headers could be parsed.
  const last = new WeakMap<Duplex, { readonly res: ServerResponse; readonly fail: Fail }>()
  // Browsers and Node's fetch connect before they have a request, and Node takes such a connection for busy.
  const unused = new Set<Socket>()
  const listener: RequestListener = (req, res) => {
    toOriginForm(req)
    unused.delete(req.socket)
    last.set(req.socket, { res, fail: dispatch(req, res) })
  }
  const server = createServer(
    {
      headersTimeout: timeouts.headers,
      requestTimeout: timeouts.request,
      connectionsCheckingInterval: timeouts.check,
      keepAliveTimeout: timeouts.idle,
      // The kernel probes a silent connection, and closes it about 20 seconds after its other end has vanished.
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_DELAY_MS,
      maxHeaderSize: 16 * 1024,
      // The dispatch checks it, and answers with a body.
      requireHostHeader: false,
    },
    listener,
  )
  server.on('connection', (socket) => {
    unused.add(socket)
    socket.once('close', () => unused.delete(socket))
  })
  const closeIdleConnections = server.closeIdleConnections.bind(server)
  server.closeIdleConnections = () => {
    closeIdleConnections()
    for (const socket of unused) if (socket.bytesRead === 0) socket.destroy()
  }
  server.timeout = timeouts.stall
  // Node would drop headers after the thousandth, and a proxy's X-Forwarded-For comes last. Their size is limited.
  server.maxHeadersCount = 0
  // An unknown Expect may be ignored (RFC 9110, 10.1.1); node would answer 417 without a body.
  server.on('checkExpectation', listener)

  const refused = new WeakSet<Duplex>()
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    // Bytes that arrive after a refusal fail as well.
    if (refused.has(socket)) return
    refused.add(socket)
    if (!socket.writable || error.code === 'ECONNRESET') {
      socket.destroy()
      return
    }
    const { res, fail } = last.get(socket) ?? {}
    if (!res || !fail || (res.writableFinished && res.req.complete)) refuse(socket, error)
    // Pipelined: earlier replies go out first, and none may be taken for this one.
    else if (res.req.complete) res.once('close', () => refuse(socket, error))
    // The body of a request that is being served.
    else if (!res.headersSent) {
      const code = codeOf(error)
      fail(new AppError(code === 'BAD_REQUEST' ? 'PARSE_ERROR' : code))
    } else socket.destroy()
  })

  function refuse(socket: Duplex, error: NodeJS.ErrnoException): void {
    const code = codeOf(error)
    const requestId = randomUUID()
    const { status } = errorTable[code]
    // Without headers there is no address behind a proxy.
    const caller = { address: normaliseAddress((socket as Partial<Socket>).remoteAddress) }
    logger.warn(
      { req: { id: requestId }, caller, res: { status }, reason: error.code },
      'not a request',
    )
    socket.end(rawError(code, requestId))
    // Later: a reset would take the reply from a client that is still sending.
    setTimeout(() => socket.destroy(), timeouts.closeDelay).unref()
  }
  return server
}

/** The host of `GET http://host/path` replaces the Host header (RFC 9112, 3.2.2). */
function toOriginForm(req: IncomingMessage): void {
  const [, host, path] = /^https?:\/\/([^/?#]*)(.*)$/i.exec(req.url ?? '') ?? []
  if (host === undefined || path === undefined) return
  req.headers.host = host
  req.url = path.startsWith('/') ? path : `/${path}`
}

function codeOf(error: NodeJS.ErrnoException): ErrorCode {
  switch (error.code) {
    case 'HPE_HEADER_OVERFLOW':
      return 'HEADERS_TOO_LARGE'
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return 'PAYLOAD_TOO_LARGE'
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return 'TIMEOUT'
    default:
      return 'BAD_REQUEST'
  }
}

function rawError(code: ErrorCode, requestId: string): string {
  const { status, text } = errorTable[code]
  const message = code === 'BAD_REQUEST' ? 'This is not an HTTP request' : text
  const body = JSON.stringify(plainErrorFormat({ code, status, message }, requestId))
  const hardening = securityHeaders()
  const lines = hardening.flatMap((name, i) =>
    i % 2 === 0 ? [`${name}: ${hardening[i + 1]}`] : [],
  )
  return [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    ...lines,
    'Cache-Control: no-store',
    'Connection: close',
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    `X-Request-Id: ${requestId}`,
    '',
    body,
  ].join('\r\n')
}
