export { type Actor, actorKey, auditName } from './auth/actor.ts'
export { authenticate, authenticateStream } from './auth/authenticate.ts'
export { AuthError, type AuthFailure } from './auth/failure.ts'
export { createLastUsedTracker } from './auth/lastUsed.ts'
export { createRevocationCheck } from './auth/revocationCheck.ts'
export {
  fixedSigningKeys,
  rotateSigningKeys,
  type SigningKeys,
  storedSigningKeys,
} from './auth/signingKeys.ts'
export { pruneUserTokenRevocations } from './auth/tokenRetention.ts'
export type { Fields } from './encoding/coerce.ts'
export { CursorEpoch } from './encoding/cursorEpoch.ts'
export { encodeOnce } from './encoding/encodeOnce.ts'
export { findLosses, type Loss } from './encoding/exactJson.ts'
export { toJson, toSuperjson, transformer } from './encoding/json.ts'
export { EventStream } from './events/live/eventStream.ts'
export { Live, type LiveOptions } from './events/live/live.ts'
export { pruneEvents } from './events/retention.ts'
export { moveRetentionClock } from './events/retentionClock.ts'
export type { Event, StreamEvent } from './events/schema.ts'
export { rights } from './keys/schema.ts'
export { LatestPageCache } from './messages/latestPageCache.ts'
export { createOpenApiDocument, type OpenApiVersion } from './openapi/document.ts'
export { type Access, type AccessLevel, type Role, roleOf, roles } from './operation/access.ts'
export {
  type AtVersion,
  type Context,
  type Cost,
  type Deps,
  Unchanged,
} from './operation/context.ts'
export {
  AppError,
  badField,
  type ErrorCode,
  errorTable,
  type FieldErrors,
} from './operation/errors.ts'
export { execute, pointsOf } from './operation/execute.ts'
export { assertExactBody, assertNothingLost, hasFreeJson } from './operation/freeJson.ts'
export type {
  Executable,
  MergePatch,
  Mutation,
  Operation,
  Query,
  Subscription,
} from './operation/operation.ts'
export {
  type CallName,
  callNames,
  findOperation,
  type OperationName,
  operationNamed,
  operationNames,
  operations,
  type StreamName,
  streamNames,
} from './operation/operations.ts'
export type { IfMatch } from './operation/preconditions.ts'
export { type PublicError, toPublicError } from './operation/publicError.ts'
export { ReadBudget } from './operation/readBudget.ts'
export { withRequestId } from './operation/requestId.ts'
export {
  type AppRouter,
  appRouter,
  createCaller,
  type Inputs,
  type Outputs,
  type PageCursor,
  pageFromCursor,
  toTrpcError,
} from './operation/trpc.ts'
export { SettingsCache } from './organisations/settingsCache.ts'
export { hiddenFromCustomers } from './rooms/policy.ts'
export { type V2Operation, v2Operations } from './v2/operations.ts'
export { methodsAt, routeV2, type V2Route } from './v2/route.ts'
export { matchV3, type V3Match, type V3Route } from './v3/routes.ts'
