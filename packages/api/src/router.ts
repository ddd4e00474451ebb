import type { inferRouterInputs, inferRouterOutputs } from '@trpc/server'
import { messageProcedures } from './messages/index.ts'
import { roomProcedures } from './rooms/index.ts'
import { router } from './trpc.ts'

/** Every operation, by its one flat name. REST is derived from it. */
export const appRouter = router({ ...roomProcedures, ...messageProcedures })

export type AppRouter = typeof appRouter

/** What each procedure takes, by its name. */
export type Inputs = inferRouterInputs<AppRouter>
/** What each procedure answers, by its name. Times are real Dates. */
export type Outputs = inferRouterOutputs<AppRouter>
