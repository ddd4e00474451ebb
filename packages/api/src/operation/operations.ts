import { listAuditEvents } from '../audit/listAuditEvents.ts'
import { createStreamToken } from '../events/createStreamToken.ts'
import { listEvents } from '../events/listEvents.ts'
import { onInboxEvents } from '../events/onInboxEvents.ts'
import { onRoomEvents } from '../events/onRoomEvents.ts'
import { onUserEvents } from '../events/onUserEvents.ts'
import { sendHeartbeat } from '../events/sendHeartbeat.ts'
import { setTyping } from '../events/setTyping.ts'
import { createApiKey } from '../keys/createApiKey.ts'
import { createUserToken } from '../keys/createUserToken.ts'
import { listApiKeys } from '../keys/listApiKeys.ts'
import { revokeApiKey } from '../keys/revokeApiKey.ts'
import { revokeUserTokens } from '../keys/revokeUserTokens.ts'
import { createMessage } from '../messages/createMessage.ts'
import { deleteMessage } from '../messages/deleteMessage.ts'
import { getMessage } from '../messages/getMessage.ts'
import { getMessages } from '../messages/getMessages.ts'
import { getRoomSnapshot } from '../messages/getRoomSnapshot.ts'
import { updateMessage } from '../messages/updateMessage.ts'
import { getOrganisation } from '../organisations/getOrganisation.ts'
import { updateOrganisation } from '../organisations/updateOrganisation.ts'
import { markRead } from '../reading/markRead.ts'
import { createRoom } from '../rooms/createRoom.ts'
import { deleteRoom } from '../rooms/deleteRoom.ts'
import { getRoomById } from '../rooms/getRoomById.ts'
import { listRooms } from '../rooms/listRooms.ts'
import { updateRoom } from '../rooms/updateRoom.ts'
import type { Operation } from './operation.ts'

/**
 * Every operation by its name. The tRPC router, the routes of REST v3, the OpenAPI documents, docs/access.md and the
 * generated tests are made of this list.
 */
export const operations = {
  createRoom,
  getRoomById,
  deleteRoom,
  updateRoom,
  listRooms,
  createMessage,
  updateMessage,
  deleteMessage,
  getMessage,
  getMessages,
  getRoomSnapshot,
  markRead,
  listEvents,
  onRoomEvents,
  onInboxEvents,
  onUserEvents,
  createStreamToken,
  sendHeartbeat,
  setTyping,
  createUserToken,
  createApiKey,
  listApiKeys,
  revokeApiKey,
  revokeUserTokens,
  listAuditEvents,
  getOrganisation,
  updateOrganisation,
} as const satisfies Record<string, unknown>

type Operations = typeof operations

export type OperationName = keyof Operations

/** Operations that open an event stream. */
export type StreamName = {
  [Name in OperationName]: Operations[Name] extends { kind: 'subscription' } ? Name : never
}[OperationName]

/** Operations that answer once. */
export type CallName = Exclude<OperationName, StreamName>

export const operationNames = Object.keys(operations) as OperationName[]

/** An operation of the list, without its own types. */
export function operationNamed(name: OperationName): Operation {
  return operations[name] as unknown as Operation
}

export const callNames = operationNames.filter((name): name is CallName => !isStreamName(name))

export const streamNames = operationNames.filter(isStreamName)

function isStreamName(name: OperationName): name is StreamName {
  return operations[name].kind === 'subscription'
}

/** @returns undefined for a name that is not in the list */
export function findOperation(name: string): Operation | undefined {
  return Object.hasOwn(operations, name) ? operationNamed(name as OperationName) : undefined
}
