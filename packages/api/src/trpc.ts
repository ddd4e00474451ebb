import { DatabaseError } from '@dowell-chat/db'
import { initTRPC, TRPCError } from '@trpc/server'
import superjson from 'superjson'
import type { OpenApiMeta } from 'trpc-to-openapi'
import type { ProcedureName } from './auth/access.ts'
import type { Context } from './context.ts'
import { AppError, badField, type ErrorCode, errorTable } from './errors.ts'
import { toPublicError } from './publicError.ts'
import { currentRequestId } from './requestId.ts'

/** What a procedure says of itself besides its schemas. */
export type Meta = OpenApiMeta & {
  /** The failures that are this procedure's own; those that any call can meet are documented for all. */
  errors?: ErrorCode[]
  /** One call and its answer, as they look on this procedure's wire. */
  example?: { input: Record<string, unknown>; output: unknown }
  /** Of a subscription: where plain server-sent events bring the same. */
  stream?: { path: string; summary: string; description: string }
  rest?: {
    /** Whether this answer made something new: then the status is 201. */
    created?: (output: never) => boolean
    /** What is answered, with 200, when nothing new was made: an example. */
    repeated?: unknown
  }
}

/** superjson leaves out what is called `__proto__`, which is refused instead: nothing that is sent is lost in silence. */
const transformer: Pick<typeof superjson, 'serialize' | 'deserialize'> = {
  serialize: superjson.serialize,
  deserialize(payload) {
    const { json } = payload
    if (typeof json === 'object' && json !== null && Object.hasOwn(json, '__proto__')) {
      throw badField('input', '__proto__ is not a known key')
    }
    // In place, since a copy would leave out what stands deeper; nobody else has this object.
    return superjson.deserialize(payload, { inPlace: true })
  },
}

const t = initTRPC
  .context<Context>()
  .meta<Meta>()
  .create({
    transformer,
    errorFormatter({ shape, error, ctx }) {
      const told = toPublicError(error)
      return {
        // The JSON-RPC number that tRPC's wire has for every error.
        code: shape.code,
        message: told.message,
        data: {
          code: told.code,
          httpStatus: told.status,
          path: shape.data.path,
          requestId: ctx?.requestId ?? currentRequestId(),
          ...(told.errors ? { errors: told.errors } : {}),
        },
      }
    },
  })

/** One of our failures as tRPC's own; undefined for any other error. */
export function toTrpcError(error: unknown): TRPCError | undefined {
  if (!(error instanceof AppError || error instanceof DatabaseError)) return undefined
  const { code, message } = toPublicError(error)
  return new TRPCError({ code: errorTable[code].trpc, message, cause: error })
}

/** tRPC answers with the status of its own codes: give it the one that our table has for the failure. */
const withPublicErrors = t.middleware(async ({ next }) => {
  const result = await next()
  if (!result.ok && result.error.cause) throw toTrpcError(result.error.cause) ?? result.error
  return result
})

export const router = t.router
export const callerFactory = t.createCallerFactory
const base = t.procedure.use(withPublicErrors)

/** For every procedure of the router: each call is paid for before its input is looked at, whatever batch it came by. */
export const procedure = base.use(async ({ ctx, path, next }) => {
  await ctx.spend(path as ProcedureName)
  return next()
})

/** For what leads to a procedure: it pays the price in its stead, so that input which never gets there is not free. */
export function wrapper(name: ProcedureName) {
  return base.use(async ({ ctx, next }) => {
    await ctx.spend(name)
    return next({ ctx: { spend: async () => undefined } })
  })
}
