import type { inferRouterInputs, inferRouterOutputs } from '@trpc/server'
import type { z } from 'zod'
import { auditProcedures } from '../audit/index.ts'
import { eventProcedures } from '../events/index.ts'
import { keyProcedures } from '../keys/index.ts'
import { messageProcedures } from '../messages/index.ts'
import { organisationProcedures } from '../organisations/index.ts'
import { roomProcedures } from '../rooms/index.ts'
import { accessTable, type CallName, type Row } from './access.ts'
import type { Context } from './context.ts'
import type { Callable } from './execute.ts'
import { callerFactory, type Meta, router } from './trpc.ts'

const procedures = {
  ...roomProcedures,
  ...messageProcedures,
  ...eventProcedures,
  ...keyProcedures,
  ...organisationProcedures,
  ...auditProcedures,
}

// A procedure that the table forgot does not compile.
accessTable satisfies Record<keyof typeof procedures, Row>

/** Every operation, by its one flat name. REST is derived from it. */
export const appRouter = router(procedures)

export type AppRouter = typeof appRouter

/** Calls procedures without a wire, validated as on every wire. */
export const createCaller = callerFactory(appRouter)

/** What each procedure takes, by its name. */
export type Inputs = inferRouterInputs<AppRouter>
/** What each procedure answers, by its name. Times are real Dates. */
export type Outputs = inferRouterOutputs<AppRouter>

/** A procedure that answers once, as `call` takes it. */
export interface CallableProcedure extends Callable {
  readonly name: CallName
  readonly type: 'query' | 'mutation'
  readonly input: z.ZodObject
  readonly meta: Meta
}

/** What tRPC keeps of such a procedure. A resolver is given more than these two, and none of ours looks at it. */
interface Definition {
  readonly type: 'query' | 'mutation'
  readonly meta: Meta & { readonly output: z.ZodType }
  readonly inputs: readonly [z.ZodObject]
  readonly resolver: (given: { ctx: Context; input: never }) => Promise<unknown>
}

/** Every procedure but the subscriptions, by name. */
export const callableProcedures: ReadonlyMap<string, CallableProcedure> = new Map(
  Object.entries(appRouter._def.procedures).flatMap(([name, { _def }]) => {
    if (_def.type === 'subscription') return []
    const { type, meta, inputs, resolver } = _def as unknown as Definition
    const callable: CallableProcedure = {
      name: name as CallName,
      type,
      input: inputs[0],
      output: meta.output,
      meta,
      run: (ctx, input) => resolver({ ctx, input }),
    }
    return [[name, callable]]
  }),
)
