export { type Actor, actorKey, nameOf } from './auth/actor.ts'
export { authenticate, authenticateStream } from './auth/authenticate.ts'
export { createCredentialCheck } from './auth/credentialCheck.ts'
export { createKeyUse } from './auth/keyUse.ts'
export { fixedSigningKeys, rotateSigningKeys, storedSigningKeys } from './auth/signingKeys.ts'
export type { Fields } from './encoding/coerce.ts'
export { toJson, toSuperjson, transformer } from './encoding/json.ts'
export { Live, type LiveOptions } from './events/live/live.ts'
export { EventStream } from './events/live/stream.ts'
export { pruneEvents } from './events/retention.ts'
export type { Event, StreamEvent } from './events/schema.ts'
export { rights } from './keys/schema.ts'
export { NewestPages } from './messages/latestPageCache.ts'
export { createOpenApiDocument, type OpenApiVersion } from './openapi/document.ts'
export {
  accessTable,
  type CallName,
  type Column,
  columns,
  costOf,
  isRead,
  type ProcedureName,
  type StreamName,
  streamNames,
} from './operation/access.ts'
export { type AtVersion, type Context, type Deps, Unchanged } from './operation/context.ts'
export { AppError, type ErrorCode, errorTable, type FieldErrors } from './operation/errors.ts'
export { call } from './operation/execute.ts'
export {
  type AppRouter,
  appRouter,
  type CallableProcedure,
  callableProcedures,
  createCaller,
  type Inputs,
  type Outputs,
} from './operation/operations.ts'
export { type PublicError, toPublicError } from './operation/publicError.ts'
export { ReadBudget } from './operation/readBudget.ts'
export { withRequestId } from './operation/requestId.ts'
export { toTrpcError } from './operation/trpc.ts'
export { callV2 } from './v2/call.ts'
export { v2Operations } from './v2/operations.ts'
export { methodsAt, routeV2 } from './v2/route.ts'
export { matchV3, v3Operations } from './v3/routes.ts'
export { matchStream, openStream } from './v3/streams.ts'
