import { Buffer } from 'node:buffer'
import { finished } from 'node:stream/promises'
import {
  AppError,
  appRouter,
  type Context,
  errorTable,
  ReadBudget,
  toPublicError,
  toTrpcError,
  withRequestId,
} from '@dowell-chat/api'
import { nodeHTTPRequestHandler } from '@trpc/server/adapters/node-http'
import { TRPC_ERROR_CODES_BY_KEY } from '@trpc/server/rpc'
import type { ContextOf } from '../caller/identity.ts'
import { createJsonTextReader } from '../core/body.ts'
import { type Dress, methodNotAllowed, noteFailure } from '../core/errors.ts'
import { answer, handOver, type Incoming, type Outgoing, type Surface } from '../core/request.ts'
import { decodeUnreserved } from '../rest/rest.ts'
import type { Subscribe } from '../streams/subscriptions.ts'
import { callsOf, MAX_BATCH_SIZE, makeCalls } from './calls.ts'

export interface TrpcOptions {
  readonly contextOf: ContextOf
  /** Bytes that a request body may have. */
  readonly bodyLimit: number
  readonly subscribe: Subscribe
}

/** A failure that tRPC itself has not met, as its clients read it: a body for the whole request, batch or not. */
export const onTrpcWire: Dress = ({ code, status, message, errors }, requestId) => ({
  error: {
    json: {
      message,
      code: TRPC_ERROR_CODES_BY_KEY[errorTable[code].trpc],
      data: { code, httpStatus: status, requestId, ...(errors ? { errors } : {}) },
    },
  },
})

const METHODS = ['GET', 'POST']

/** One name, or several with commas: tRPC looks at nothing but what follows the last slash. */
const PROCEDURES = /^\/[\w.,%-]*$/

/** Beside the Vary that every answer has. */
const HEADERS = [
  'Cache-Control',
  'no-store',
  'Vary',
  'trpc-accept, accept',
  'Content-Type',
  'application/json',
]

/**
 * The procedures on tRPC's own wire, with superjson. What is wrong with the request as HTTP is refused before tRPC sees
 * it; tRPC would take broken UTF-8 for U+FFFD, and some methods for a fault of the server.
 */
export function trpc({ contextOf, bodyLimit, subscribe }: TrpcOptions): Surface {
  const readBody = createJsonTextReader(bodyLimit)
  return async (req, res) => {
    const { method } = req
    if (method !== 'HEAD' && !METHODS.includes(method as string)) {
      throw methodNotAllowed(res, METHODS)
    }
    const path = decodeUnreserved(res.locals.path).slice('/trpc'.length)
    if (!PROCEDURES.test(path)) throw new AppError('NOT_FOUND')
    const query = new URLSearchParams(res.locals.query)
    if (await subscribe(req, res, path.slice(1), query)) return
    const calls = callsOf(req, path.slice(1), query)
    const context = contextOf(req, res).catch((error: unknown) => {
      throw toTrpcError(error) ?? error
    })
    const known = await context.catch(() => undefined)
    let text: string | undefined = query.get('input') ?? ''
    // Of any other request only the URL counts, and tRPC would choose by this how to read it.
    if (method !== 'POST') delete req.headers['content-type']
    else if (known) text = await known.reading(() => readBody(req, res))
    else if (await discardBody(req, res)) text = ''
    else return
    if (known && calls && text !== undefined) {
      const { status, body, failures } = await makeCalls(calls, text, known)
      await known.charge(Buffer.byteLength(body))
      for (const { error, told } of failures) {
        if (told.status >= 500) noteFailure(res, error)
        if (told.retryAfter !== undefined) res.setHeader('Retry-After', told.retryAfter)
      }
      answer(res, status, body, HEADERS)
      return
    }
    if (method === 'POST') Object.assign(req, { body: text })
    handOver(res)
    const reads = new ReadBudget()
    // Made when tRPC asks for it, which it does not for every request: a promise that nobody awaits would end the process.
    const createContext = async () => ({ ...(await context), reads })
    await withRequestId(res.locals.id, () => adapt(req, res, path.slice(1), createContext))
  }
}

/** Leaves to tRPC's adapter what is wrong or rare: it knows more of its wire, and takes its time. */
function adapt(
  req: Incoming,
  res: Outgoing,
  path: string,
  createContext: () => Promise<Context>,
): Promise<void> {
  return nodeHTTPRequestHandler({
    req,
    res,
    path,
    router: appRouter,
    createContext,
    maxBatchSize: MAX_BATCH_SIZE,
    responseMeta({ data, errors, eagerGeneration }) {
      const told = errors.map((error) => toPublicError(error))
      const retryAfter = told.find((error) => error.retryAfter !== undefined)?.retryAfter
      const [only] = data.length === 1 ? told : []
      return {
        headers: {
          'Cache-Control': 'no-store',
          // tRPC's own, which would replace what CORS has set, and that.
          Vary: 'Origin, trpc-accept, accept',
          // Of a request that it cannot read tRPC would say that the answer is text.
          ...(eagerGeneration ? {} : { 'Content-Type': 'application/json' }),
          ...(retryAfter === undefined ? {} : { 'Retry-After': String(retryAfter) }),
        },
        // A batch whose calls fared differently keeps tRPC's 207; one failure has the status of our table.
        ...(only ? { status: only.status } : {}),
      }
    },
    onError({ error }) {
      if (toPublicError(error).status >= 500) noteFailure(res, error)
    },
  })
}

/**
 * Throws the body of somebody who is not let in away, so that tRPC, which tells each call of a batch of that, finds an
 * empty one.
 *
 * @returns false when the request ended before its body did, and was answered as far as it can be
 */
async function discardBody(req: Incoming, res: Outgoing): Promise<boolean> {
  req.headers['content-type'] = 'application/json'
  await finished(req.resume()).catch(() => undefined)
  return req.complete && !res.headersSent
}
