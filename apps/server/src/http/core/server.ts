import { randomUUID } from 'node:crypto'
import { createServer, type RequestListener, type Server, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { AppError, type ErrorCode, errorTable } from '@dowell-chat/api'
import type { Logger } from 'pino'
import { sendError } from './errors.ts'
import { hardeningHeaders } from './headers.ts'
import { type Incoming, type Outgoing, valuesOf } from './request.ts'

/** How long a client may take, in milliseconds. */
export const standardPatience = {
  /** For all headers, and for the whole request: a client that dribbles holds a socket no longer. */
  headers: 10_000,
  request: 30_000,
  /** How often those two are looked at. */
  check: 1_000,
  /** Without a byte in either direction while a request is served: a client that does not read its answer is cut. */
  stall: 60_000,
  /** Between requests. Longer than the 60 s that load balancers commonly keep a connection, so that they close it. */
  idle: 65_000,
  /** To read why its request was refused, before the connection is cut. */
  farewell: 1_000,
}

/** An HTTP server that tells even a client whose request cannot be parsed what is wrong, in the usual shape. */
export function createHttpServer(
  serve: (req: Incoming, res: Outgoing) => void,
  logger: Logger,
  patience = standardPatience,
): Server {
  // The last request of each connection that could be parsed, at least as far as its headers.
  const last = new WeakMap<Duplex, Outgoing>()
  // Browsers and Node's fetch connect before they have something to ask, and Node takes a connection without any request
  // for busy: closing would wait for it.
  const unused = new Set<Socket>()
  const listener: RequestListener = (req, res) => {
    toOriginForm(req)
    unused.delete(req.socket)
    serve(req, res as Outgoing)
    last.set(req.socket, res as Outgoing)
  }
  const server = createServer(
    {
      headersTimeout: patience.headers,
      requestTimeout: patience.request,
      connectionsCheckingInterval: patience.check,
      keepAliveTimeout: patience.idle,
      maxHeaderSize: 16 * 1024,
      // The app refuses a request without a Host itself, with a body that says so.
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
  server.timeout = patience.stall
  // Node would pass over what comes after the thousandth header, and a proxy's X-Forwarded-For comes last. The size is
  // limit enough.
  server.maxHeadersCount = 0
  // An Expect that nobody knows may be passed over (RFC 9110, 10.1.1); node would answer 417 without a body.
  server.on('checkExpectation', listener)

  const refused = new WeakSet<Duplex>()
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    // What still arrives after a refusal fails as well.
    if (refused.has(socket)) return
    refused.add(socket)
    if (!socket.writable || error.code === 'ECONNRESET') {
      socket.destroy()
      return
    }
    const res = last.get(socket)
    if (!res || (res.writableFinished && res.req.complete)) refuse(socket, error)
    // Pipelined: the answers before this one must come first, and none may be taken for this one.
    else if (res.req.complete) res.once('close', () => refuse(socket, error))
    // The body of a request that the app has begun to serve: it is answered as such, in its turn.
    else if (!res.headersSent) {
      const code = codeOf(error)
      res.shouldKeepAlive = false
      sendError(res, new AppError(code === 'BAD_REQUEST' ? 'PARSE_ERROR' : code))
      // And not when the rest of the body was read, as other answers: nobody waits for that now.
      res.end()
    } else socket.destroy()
  })

  function refuse(socket: Duplex, error: NodeJS.ErrnoException): void {
    const code = codeOf(error)
    const requestId = randomUUID()
    const { status } = errorTable[code]
    logger.warn({ req: { id: requestId }, res: { status }, reason: error.code }, 'not a request')
    socket.end(rawError(code, requestId))
    // Not at once: a reset would take the answer from a client that is still sending.
    setTimeout(() => socket.destroy(), patience.farewell).unref()
  }
  return server
}

/** A request names exactly one host (RFC 9112, 3.2); in HTTP/1.0 it could do without. @throws AppError BAD_REQUEST */
export function refuseBadHost(req: Incoming): void {
  const hosts = valuesOf(req, 'host').length
  if (hosts === 0 && req.httpVersion === '1.0') return
  const { host = '' } = req.headers
  const good = hosts === 1 && /^[^\s/\\?#@]+$/.test(host) && URL.canParse(`http://${host}`)
  if (!good) throw new AppError('BAD_REQUEST', { message: 'The Host header must name one host' })
}

/** Of `GET http://host/path`, as clients ask a proxy, the host counts, and not the Host header's (RFC 9112, 3.2.2). */
function toOriginForm(req: Incoming): void {
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
  const body = JSON.stringify({ code, message, requestId })
  const hardening = hardeningHeaders()
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
