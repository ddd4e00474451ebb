import { DatabaseError } from '@dowell-chat/db'
import { initTRPC, TRPCError } from '@trpc/server'
import type { OpenApiMeta } from 'trpc-to-openapi'
import type { z } from 'zod'
import { transformer } from '../encoding/json.ts'
import { jsonBytes } from '../encoding/pageBytes.ts'
import type { ProcedureName } from './access.ts'
import { checkAnswer } from './answers.ts'
import type { Context } from './context.ts'
import { AppError, type ErrorCode, errorTable } from './errors.ts'
import { toPublicError } from './publicError.ts'
import { currentRequestId } from './requestId.ts'

/** What a procedure says of itself besides its schemas. */
export type Meta = OpenApiMeta & {
  /** What it answers. Types see to that; tests check it. See {@link procedure}. */
  output?: z.ZodType
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

export const router = t.router
export const callerFactory = t.createCallerFactory

/** What tRPC's adapter will write, measured before it does. */
function bytesOf(result: object): number {
  return 'data' in result && result.data !== undefined ? jsonBytes(result.data) : 0
}

/**
 * For every procedure, where tRPC calls it itself: each call is paid for before its input is looked at, whatever batch it
 * came by. tRPC answers with the status of its own codes, so our failures get the one that our table has for them. `call`
 * does the same without tRPC; one that is changed must be changed with the other.
 *
 * The answer is checked where `deps.checkAnswers` says so, and passed on as it is either way. tRPC's own `.output` would
 * copy it each time.
 */
export const procedure = t.procedure.use(async ({ ctx, meta, path, type, next }) => {
  async function run() {
    await ctx.spend(path as ProcedureName)
    return next()
  }
  const { reads } = ctx
  let result: Awaited<ReturnType<typeof run>>
  try {
    if (type === 'query' && reads) {
      result = await reads.run(run, ({ ok, ...rest }) => (ok ? bytesOf(rest) : 0))
    } else result = await run()
    if (result.ok && reads) await ctx.charge(bytesOf(result))
  } catch (error) {
    throw toTrpcError(error) ?? error
  }
  if (!result.ok && result.error.cause) throw toTrpcError(result.error.cause) ?? result.error
  if (result.ok && ctx.deps.checkAnswers && meta?.output) checkAnswer(meta.output, result.data)
  return result
})
