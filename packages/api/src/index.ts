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
} from './auth/access.ts'
export { type Actor, actorKey, nameOf } from './auth/actor.ts'
export { authenticate, authenticateStream } from './auth/authenticate.ts'
export { createCredentialCheck } from './auth/credentialCheck.ts'
export { createKeyUse } from './auth/keyUse.ts'
export { fixedSigningKeys, rotateSigningKeys, storedSigningKeys } from './auth/signingKeys.ts'
export { call } from './call.ts'
export { type AtVersion, type Context, type Deps, Unchanged } from './context.ts'
export { AppError, type ErrorCode, errorTable, type FieldErrors } from './errors.ts'
export { Live, type LiveOptions } from './events/live.ts'
export { pruneEvents } from './events/retention.ts'
export type { Event, StreamEvent } from './events/schema.ts'
export { EventStream } from './events/stream.ts'
export { toJson, toSuperjson, transformer } from './json.ts'
export { rights } from './keys/schema.ts'
export { NewestPages } from './messages/newestPages.ts'
export { type PublicError, toPublicError } from './publicError.ts'
export { ReadBudget } from './readBudget.ts'
export { withRequestId } from './requestId.ts'
export { createOpenApiDocument, type OpenApiVersion } from './rest/openapi/document.ts'
export { matchStream, openStream } from './rest/streams.ts'
export { callV2 } from './rest/v2/call.ts'
export { v2Operations } from './rest/v2/operations.ts'
export { methodsAt, routeV2 } from './rest/v2/route.ts'
export { matchV3, v3Operations } from './rest/v3.ts'
export type { Fields } from './rest/wire.ts'
export {
  type AppRouter,
  appRouter,
  type CallableProcedure,
  callableProcedures,
  createCaller,
  type Inputs,
  type Outputs,
} from './router.ts'
export { toTrpcError } from './trpc.ts'
