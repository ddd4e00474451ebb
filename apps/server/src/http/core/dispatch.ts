import type { IncomingMessage, ServerResponse } from 'node:http'
import { AppError } from '@dowell-chat/api'
import type { Logger } from 'pino'
import { toErrorReply } from './errors.ts'
import type { CorsResult } from './headers.ts'
import { logRequest } from './log.ts'
import { delegateReply, type HeaderList, type Outcome, writeReply } from './reply.ts'
import { createRequest, type HttpRequest, valuesOf } from './request.ts'
import type { Transport } from './transport.ts'

const MAX_URL_CHARS = 8_192

/** Answers a request that is being served with an error, before it is served. */
export type Fail = (error: unknown) => void

/** Starts to serve a request. */
export type Dispatch = (req: IncomingMessage, res: ServerResponse) => Fail

export interface DispatchOptions {
  readonly logger: Logger
  readonly addressOf: (req: IncomingMessage) => string
  /** The first whose pattern matches the path serves the request. The last one must match every path. */
  readonly routes: readonly { readonly pattern: RegExp; readonly transport: Transport }[]
  readonly defaultHeaders: (req: IncomingMessage) => HeaderList
  readonly cors: (req: IncomingMessage, headers: HeaderList) => Promise<CorsResult>
  readonly isClosing: () => boolean
}

/** The way of every request: log, headers, CORS, URL and Host, transport, reply. */
export function createDispatch(options: DispatchOptions): Dispatch {
  const { logger, addressOf, routes, defaultHeaders, cors, isClosing } = options

  function transportFor(path: string): Transport {
    const route = routes.find(({ pattern }) => pattern.test(path))
    if (!route) throw new Error('no route matches every path')
    return route.transport
  }

  return (req, res) => {
    const { request, markServed } = createRequest(req, res, addressOf(req))
    let outcome: Outcome = {}
    logRequest(logger, request, res, () => outcome)
    const { serve, errorFormat } = transportFor(request.path)
    let headers = defaultHeaders(req)
    if (isClosing()) res.shouldKeepAlive = false

    function replyWithError(error: unknown): void {
      if (res.headersSent) return
      outcome = writeReply(res, request, headers, toErrorReply(request, error, errorFormat))
    }

    async function run(): Promise<void> {
      try {
        if (req.headers.origin !== undefined) {
          const result = await cors(req, headers)
          headers = result.headers
          if (result.preflight) {
            writeReply(res, request, headers, result.preflight)
            return
          }
        }
        if ((req.url as string).length > MAX_URL_CHARS) throw new AppError('URI_TOO_LONG')
        assertOneHost(req)
        assertFraming(req, res)
        const reply = await serve(request)
        if ('delegate' in reply) await delegateReply(res, request, headers, reply)
        else {
          outcome = writeReply(res, request, headers, reply)
          if ('done' in reply) await reply.done
        }
      } catch (error) {
        replyWithError(error)
      } finally {
        markServed()
      }
    }

    void run()
    return (error) => {
      res.shouldKeepAlive = false
      // Node ends no request that it could not parse to its end. What reads its body waits for that.
      res.once('close', () => req.destroy())
      replyWithError(error)
      // The rest of the request's body, for which an error reply waits, never comes.
      res.end()
    }
  }
}

/** A request names exactly one host (RFC 9112, 3.2); HTTP/1.0 had no Host header. @throws AppError BAD_REQUEST */
function assertOneHost(req: HttpRequest['raw']): void {
  const hosts = valuesOf(req, 'host').length
  if (hosts === 0 && req.httpVersion === '1.0') return
  const { host = '' } = req.headers
  const isValid = hosts === 1 && /^[^\s/\\?#@]+$/.test(host) && URL.canParse(`http://${host}`)
  if (!isValid) throw new AppError('BAD_REQUEST', { message: 'The Host header must name one host' })
}

/**
 * `chunked` is the only transfer coding, and HTTP/1.0 had none (RFC 9112, 6.1). Node reads past other codings, as if they
 * were not there.
 *
 * @throws AppError BAD_REQUEST
 */
function assertFraming({ headers, httpVersion }: HttpRequest['raw'], res: ServerResponse): void {
  const { 'transfer-encoding': coding } = headers
  if (coding === undefined || (coding.toLowerCase() === 'chunked' && httpVersion !== '1.0')) return
  // Another server may see its end elsewhere.
  res.shouldKeepAlive = false
  throw new AppError('BAD_REQUEST', {
    message:
      'The only Transfer-Encoding is chunked, in HTTP/1.1; compress a body by Content-Encoding',
  })
}
