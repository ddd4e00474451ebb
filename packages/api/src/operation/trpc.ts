import { DatabaseError } from '@dowell-chat/db'
import {
  type inferRouterOutputs,
  initTRPC,
  TRPCError,
  type TRPCMutationProcedure,
  type TRPCQueryProcedure,
  type TRPCSubscriptionProcedure,
  type TrackedEnvelope,
} from '@trpc/server'
import type { OpenApiMeta } from 'trpc-to-openapi'
import type { z } from 'zod'
import { transformer } from '../encoding/json.ts'
import { jsonBytes } from '../encoding/pageBytes.ts'
import type { Context } from './context.ts'
import { AppError, badField, errorTable } from './errors.ts'
import { execute } from './execute.ts'
import type { Mutation, Operation, Query, Subscription } from './operation.ts'
import { operationNamed, operationNames, type operations } from './operations.ts'
import { toPublicError } from './publicError.ts'
import { currentRequestId } from './requestId.ts'

const t = initTRPC
  .context<Context>()
  .meta<OpenApiMeta>()
  .create({
    transformer,
    errorFormatter({ shape, error, ctx }) {
      const { code, status, message, errors } = toPublicError(error)
      return {
        // tRPC's own JSON-RPC number.
        code: shape.code,
        message,
        data: {
          code,
          httpStatus: status,
          path: shape.data.path,
          requestId: ctx?.requestId ?? currentRequestId(),
          ...(errors ? { errors } : {}),
        },
      }
    },
  })

/** One of our errors as tRPC's; undefined for any other error. */
export function toTrpcError(error: unknown): TRPCError | undefined {
  if (!(error instanceof AppError || error instanceof DatabaseError)) return undefined
  const { code, message } = toPublicError(error)
  return new TRPCError({ code: errorTable[code].trpc, message, cause: error })
}

/** Passes the input on unread. `execute` reads it after the quota is consumed. */
const procedure = t.procedure
  .use(({ getRawInput, next }) => next({ ctx: { readInput: getRawInput } }))
  .use(({ next }) => next({ getRawInput: async () => undefined }))

type ProcedureContext = Context & { readonly readInput: () => Promise<unknown> }

/** An input's schema, for tRPC's types and for trpc-to-openapi. It accepts every value, because `execute` validates. */
function unchecked<Schema extends z.ZodType>(schema: Schema): Schema {
  const pass = (value: unknown) => value
  return Object.create(schema, {
    parse: { value: pass },
    parseAsync: { value: async (value: unknown) => value },
  }) as Schema
}

/** The `cursor` of an infinite query: the field of a page that chooses the next one. */
export type PageCursor = { readonly before: string } | { readonly after: string }

/** What TanStack Query adds to the input of a query that pages. */
type InfiniteQueryInput = {
  cursor?: PageCursor | null | undefined
  /** Ignored: a refetch has always "forward", whatever page it repeats. */
  direction?: 'forward' | 'backward' | undefined
}

/**
 * Replaces the `cursor` of an infinite query by the field that it has. Any other input stays as it is.
 *
 * @throws AppError BAD_REQUEST
 */
export function pageFromCursor({ kind, input: { shape } }: Operation, input: unknown): unknown {
  if (kind !== 'query' || typeof input !== 'object' || input === null) return input
  if (!('cursor' in input || 'direction' in input) || !('after' in shape)) return input
  const { cursor, direction: _, ...fields } = input as InfiniteQueryInput
  if (cursor === undefined || cursor === null) return fields
  const [key, ...others] = Object.keys(cursor)
  if (others.length > 0 || (key !== 'before' && key !== 'after')) {
    throw badField('cursor', 'must be { before } or { after }, with a cursor of a page')
  }
  return { ...fields, ...cursor }
}

async function resolve(ctx: ProcedureContext, operation: Operation): Promise<unknown> {
  const { reads, charge } = ctx
  const call = () =>
    execute(ctx, operation, async () => pageFromCursor(operation, await ctx.readInput()))
  try {
    if (!reads || operation.kind === 'subscription') return await call()
    const output = await (operation.kind === 'query' ? reads.run(call, jsonBytes) : call())
    await charge(jsonBytes(output))
    return output
  } catch (error) {
    throw toTrpcError(error) ?? error
  }
}

/** What trpc-to-openapi documents and serves. We add errors and security: it has one text per status for all operations. */
export function openApiMeta(place: {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly path: `/${string}`
  readonly tag: string
  readonly summary: string
  readonly description?: string | undefined
}): OpenApiMeta {
  const { method, path, tag, summary, description } = place
  return {
    openapi: {
      method,
      path,
      tags: [tag],
      summary,
      ...(description === undefined ? {} : { description }),
      errorResponses: [],
      protect: false,
    },
  }
}

function toProcedure(operation: Operation) {
  const { kind, input, output, rest } = operation
  if (kind === 'subscription') {
    return procedure
      .input(unchecked(input))
      .subscription(({ ctx }) => resolve(ctx, operation) as Promise<AsyncIterable<unknown>>)
  }
  return procedure
    .meta(openApiMeta(rest))
    .input(unchecked(input))
    .output(output)
    [kind](({ ctx }) => resolve(ctx, operation))
}

/** An event as tRPC's clients receive it. */
type Received<Event> =
  Event extends TrackedEnvelope<infer Data> ? { id: string; data: Data } : Event

type ReceivedStream<Stream> =
  Stream extends AsyncIterable<infer Event> ? AsyncIterable<Received<Event>> : never

type QueryInput<Input> = 'after' extends keyof Input ? Input & InfiniteQueryInput : Input

type ProcedureOf<Op> =
  Op extends Query<infer Input, infer Output>
    ? TRPCQueryProcedure<{ input: QueryInput<z.input<Input>>; output: Output; meta: OpenApiMeta }>
    : Op extends Mutation<infer Input, infer Output>
      ? TRPCMutationProcedure<{ input: z.input<Input>; output: Output; meta: OpenApiMeta }>
      : Op extends Subscription<infer Input, infer Stream>
        ? TRPCSubscriptionProcedure<{
            input: z.input<Input>
            output: ReceivedStream<Stream>
            meta: OpenApiMeta
          }>
        : never

type Procedures = {
  -readonly [Name in keyof typeof operations]: ProcedureOf<(typeof operations)[Name]>
}

/** The operations as tRPC procedures, under the same names. trpc-to-openapi's handler can serve it. */
export const appRouter = t.router(
  Object.fromEntries(
    operationNames.map((name) => [name, toProcedure(operationNamed(name))]),
  ) as unknown as Procedures,
)

export type AppRouter = typeof appRouter

/** Calls operations in this process, checked like those of a client. */
export const createCaller = t.createCallerFactory(appRouter)

/** The input of each operation. */
export type Inputs = {
  [Name in keyof typeof operations]: z.input<(typeof operations)[Name]['input']>
}
/** The output of each operation. Times are Dates. */
export type Outputs = inferRouterOutputs<AppRouter>
