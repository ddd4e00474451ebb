export { listAuditEvents } from './audit/listAuditEvents.ts'
export {
  type Access,
  accessTable,
  type Column,
  columns,
  costOf,
  type ProcedureName,
} from './auth/access.ts'
export { type Actor, nameOf } from './auth/actor.ts'
export { authenticate } from './auth/authenticate.ts'
export { createKeyUse } from './auth/keyUse.ts'
export {
  fixedSigningKeys,
  rotateSigningKeys,
  type SigningKey,
  type SigningKeys,
  storedSigningKeys,
} from './auth/signingKeys.ts'
export type { Context, Deps, Limits } from './context.ts'
export { AppError, type ErrorCode, errorTable, type FieldErrors } from './errors.ts'
export { createApiKey } from './keys/createApiKey.ts'
export { createUserToken } from './keys/createUserToken.ts'
export { listApiKeys } from './keys/listApiKeys.ts'
export { revokeApiKey } from './keys/revokeApiKey.ts'
export { rights } from './keys/schema.ts'
export { createMessage } from './messages/createMessage.ts'
export { getMessages } from './messages/getMessages.ts'
export type { Message } from './messages/schema.ts'
export type { Page } from './paging.ts'
export { type PublicError, toPublicError } from './publicError.ts'
export { withRequestId } from './requestId.ts'
export { createOpenApiDocument, type OpenApiVersion } from './rest/openapi/document.ts'
export { matchV2, routeV2 } from './rest/v2/route.ts'
export { v2Router } from './rest/v2/router.ts'
export { matchV3, v3Router } from './rest/v3.ts'
export { createRoom } from './rooms/createRoom.ts'
export { deleteRoom } from './rooms/deleteRoom.ts'
export { getRoomById } from './rooms/getRoomById.ts'
export { listRooms } from './rooms/listRooms.ts'
export type { Room } from './rooms/schema.ts'
export { type AppRouter, appRouter, createCaller, type Inputs, type Outputs } from './router.ts'
export { type Meta, toTrpcError } from './trpc.ts'
