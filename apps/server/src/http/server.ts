import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { AppError, type ErrorCode, errorTable } from '@dowell-chat/api'
import type { Logger } from 'pino'

/** An HTTP server that tells even a client whose request cannot be parsed what is wrong, in the usual shape. */
export function createHttpServer(listener: RequestListener, logger: Logger): Server {
  const server = createServer(
    {
      // Time for all headers, and for the whole request: a client that dribbles holds a socket no longer.
      headersTimeout: 10_000,
      requestTimeout: 30_000,
      // Longer than the 60 s that load balancers commonly keep a connection, so that it is they who close it.
      keepAliveTimeout: 65_000,
      // The app refuses a request without a Host itself, with a body that says so.
      requireHostHeader: false,
    },
    listener,
  )
  // An Expect that nobody knows may be passed over (RFC 9110, 10.1.1); node would answer 417 without a body.
  server.on('checkExpectation', listener)
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    if (!socket.writable || error.code === 'ECONNRESET') {
      socket.destroy()
      return
    }
    const code = codeOf(error)
    const requestId = randomUUID()
    const { status } = errorTable[code]
    logger.warn({ req: { id: requestId }, res: { status }, reason: error.code }, 'not a request')
    socket.end(rawError(code, requestId))
  })
  return server
}

/** A request names exactly one host (RFC 9112, 3.2); in HTTP/1.0 it could do without. @throws AppError BAD_REQUEST */
export function refuseBadHost({ headersDistinct, httpVersion }: IncomingMessage): void {
  const hosts = headersDistinct.host ?? []
  if (hosts.length === 0 && httpVersion === '1.0') return
  const [host = ''] = hosts
  const good = hosts.length === 1 && /^[^\s/\\?#@]+$/.test(host) && URL.canParse(`http://${host}`)
  if (!good) throw new AppError('BAD_REQUEST', { message: 'The Host header must name one host' })
}

function codeOf(error: NodeJS.ErrnoException): ErrorCode {
  switch (error.code) {
    case 'HPE_HEADER_OVERFLOW':
      return 'HEADERS_TOO_LARGE'
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return 'TIMEOUT'
    default:
      return 'BAD_REQUEST'
  }
}

function rawError(code: ErrorCode, requestId: string): string {
  const { status } = errorTable[code]
  const message = code === 'BAD_REQUEST' ? 'This is not an HTTP request' : errorTable[code].text
  const body = JSON.stringify({ code, message, requestId })
  return [
    `HTTP/1.1 ${status} ${code}`,
    'Connection: close',
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    `X-Request-Id: ${requestId}`,
    '',
    body,
  ].join('\r\n')
}
