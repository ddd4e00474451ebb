import { finished } from 'node:stream/promises'
import {
  AppError,
  appRouter,
  errorTable,
  toPublicError,
  toTrpcError,
  withRequestId,
} from '@dowell-chat/api'
import { createExpressMiddleware } from '@trpc/server/adapters/express'
import { TRPC_ERROR_CODES_BY_KEY } from '@trpc/server/rpc'
import type { Request, RequestHandler, Response } from 'express'
import { createJsonTextReader } from './body.ts'
import { type Dress, methodNotAllowed, noteFailure, requestIdOf, sendError } from './errors.ts'
import type { ContextOf } from './identity.ts'

/** Calls that one HTTP request may carry. */
export const MAX_BATCH_SIZE = 50

export interface TrpcOptions {
  readonly contextOf: ContextOf
  /** Bytes that a request body may have. */
  readonly bodyLimit: number
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

/**
 * The procedures on tRPC's own wire, with superjson. What is wrong with the request as HTTP is refused before tRPC sees
 * it; tRPC would take broken UTF-8 for U+FFFD, and some methods for a fault of the server.
 */
export function trpc({ contextOf, bodyLimit }: TrpcOptions): RequestHandler {
  const readBody = createJsonTextReader(bodyLimit)
  const middleware = createExpressMiddleware({
    router: appRouter,
    createContext: ({ res }) => res.locals.context,
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
    onError({ error, req }) {
      if (req.res && toPublicError(error).status >= 500) noteFailure(req.res, error)
    },
  })
  return async (req, res, next) => {
    try {
      const { method } = req
      if (method !== 'HEAD' && !METHODS.includes(method)) throw methodNotAllowed(res, METHODS)
      if (!PROCEDURES.test(req.path)) throw new AppError('NOT_FOUND')
      const context = contextOf(req, res).catch((error: unknown) => {
        throw toTrpcError(error) ?? error
      })
      res.locals.context = context
      const known = await context.catch(() => undefined)
      // Of any other request only the URL counts, and tRPC would choose by this how to read it.
      if (method !== 'POST') delete req.headers['content-type']
      else if (known) req.body = await known.reading(() => readBody(req, res))
      else if (!(await discardBody(req, res))) return
    } catch (error) {
      sendError(res, error)
      return
    }
    withRequestId(requestIdOf(res), () => middleware(req, res, next))
  }
}

/**
 * Throws the body of somebody who is not let in away, so that tRPC, which tells each call of a batch of that, finds an
 * empty one.
 *
 * @returns false when the request ended before its body did, and was answered as far as it can be
 */
async function discardBody(req: Request, res: Response): Promise<boolean> {
  req.headers['content-type'] = 'application/json'
  req.body = ''
  await finished(req.resume()).catch(() => undefined)
  return req.complete && !res.headersSent
}
