import { appRouter, toPublicError, toTrpcError, withRequestId } from '@dowell-chat/api'
import { createExpressMiddleware } from '@trpc/server/adapters/express'
import type { RequestHandler } from 'express'
import { requestIdOf } from './errors.ts'
import type { ContextOf } from './identity.ts'

/** Calls that one HTTP request may carry. */
export const MAX_BATCH_SIZE = 50

export interface TrpcOptions {
  readonly contextOf: ContextOf
  /** Bytes that a request body may have. */
  readonly bodyLimit: number
}

/** The procedures on tRPC's own wire, with superjson. */
export function trpc({ contextOf, bodyLimit }: TrpcOptions): RequestHandler {
  const middleware = createExpressMiddleware({
    router: appRouter,
    createContext: ({ req, res }) =>
      contextOf(req, res).catch((error: unknown) => {
        throw toTrpcError(error) ?? error
      }),
    maxBodySize: bodyLimit,
    maxBatchSize: MAX_BATCH_SIZE,
    responseMeta({ data, errors }) {
      const told = errors.map((error) => toPublicError(error))
      const retryAfter = told.find((error) => error.retryAfter !== undefined)?.retryAfter
      const [only] = data.length === 1 ? told : []
      return {
        headers: {
          'Cache-Control': 'no-store',
          // tRPC's own, which would replace what CORS has set, and that.
          Vary: 'Origin, trpc-accept, accept',
          ...(retryAfter === undefined ? {} : { 'Retry-After': String(retryAfter) }),
        },
        // A batch whose calls fared differently keeps tRPC's 207; one failure has the status of our table.
        ...(only ? { status: only.status } : {}),
      }
    },
    onError({ error, req }) {
      if (req.res && toPublicError(error).status >= 500) req.res.locals.failure = error
    },
  })
  return (req, res, next) => withRequestId(requestIdOf(res), () => middleware(req, res, next))
}
