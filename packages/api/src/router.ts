import type { inferRouterInputs, inferRouterOutputs } from '@trpc/server'
import { auditProcedures } from './audit/index.ts'
import type { Row } from './auth/access.ts'
import { accessTable } from './auth/access.ts'
import { eventProcedures } from './events/index.ts'
import { keyProcedures } from './keys/index.ts'
import { messageProcedures } from './messages/index.ts'
import { roomProcedures } from './rooms/index.ts'
import { callerFactory, router } from './trpc.ts'

const procedures = {
  ...roomProcedures,
  ...messageProcedures,
  ...eventProcedures,
  ...keyProcedures,
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
