export { type CopiedTable, type CopyOptions, type CopyProgress, copyDatabase } from './copy.ts'
export { type Database, type DatabaseOptions, openDatabase } from './database.ts'
export { DatabaseError } from './errors.ts'
export type { MessageOutline } from './messageText.ts'
export type { Peers } from './peers.ts'
export { PREVIEW_CHARACTERS, previewOf } from './preview.ts'
export {
  anyApiKeyExists,
  apiKeysNextTo,
  findApiKey,
  insertApiKey,
  recordApiKeyUse,
  revokeApiKeyRow,
} from './queries/apiKeys.ts'
export { auditEventsNextTo, insertAuditEvent } from './queries/auditEvents.ts'
export {
  deleteEvents,
  type EventFilter,
  type EventLogBounds,
  type EventLogEnd,
  type EventPage,
  eventLogBounds,
  eventLogHeads,
  eventLogsAfter,
  eventsInScope,
  type LoggedEvent,
  type NewEvent,
  oldestEvents,
} from './queries/events.ts'
export {
  appendMessage,
  type ChooseRange,
  clearMessage,
  editMessage,
  findMessage,
  findMessageByClientId,
  insertMessage,
  messagesInRange,
  type NewMessage,
} from './queries/messages.ts'
export {
  findOrganisationSettings,
  lockOrganisation,
  nextPosition,
  saveOrganisationSettings,
} from './queries/organisations.ts'
export {
  findReadMarker,
  moveReadMarker,
  newestReadMarkers,
  unreadCounts,
} from './queries/readMarkers.ts'
export {
  describeRoom,
  findActiveRoom,
  findRoom,
  findRoomsAtBounds,
  findRoomToChange,
  findRoomToTell,
  insertRoom,
  type RoomBounds,
  type RoomFilter,
  type RoomIdentity,
  roomsNextTo,
  setRoomActive,
} from './queries/rooms.ts'
export {
  deleteSigningKeys,
  insertSigningKey,
  listSigningKeys,
  listSigningKeysToChange,
} from './queries/signingKeys.ts'
export type { RoomScope } from './roomScope.ts'
export { anyOrganisation, type OrgScope } from './scope.ts'
export type {
  ApiKeyRow,
  AuditEventRow,
  EventRow,
  EventType,
  MessageRow,
  ReadMarkerRow,
  RoomRow,
  SigningKeyRow,
} from './tables.ts'
export { appendEvent, type Tx } from './transaction.ts'
