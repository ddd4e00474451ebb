export { type CopiedTable, type CopyOptions, type CopyProgress, copyDatabase } from './copy/copy.ts'
export { RestoreError, restoreFile } from './copy/restoreFile.ts'
export { type Database, type DatabaseOptions, openDatabase } from './engine/database.ts'
export { DatabaseError } from './engine/errors.ts'
export type { Peers } from './engine/peers.ts'
export type { Session } from './engine/session.ts'
export {
  afterCommit,
  appendEvent,
  type Transaction,
} from './engine/transaction.ts'
export {
  type EventLogBounds,
  type EventLogEnd,
  eventLogBounds,
  eventLogHeads,
} from './eventLog/bounds.ts'
export { findEpochs, type LogEpochs, startEpoch } from './eventLog/epoch.ts'
export {
  type EventFilter,
  type EventPage,
  eventsInScope,
  type LoggedEvent,
} from './eventLog/read.ts'
export {
  deleteEvents,
  eventLogsAfter,
  findRetentionClock,
  oldestEvents,
  type RetentionClock,
  saveRetentionClock,
} from './eventLog/retention.ts'
export { type Checksums, migrationChecksums } from './migrations/checksumOf.ts'
export * from './queries/apiKeys.ts'
export * from './queries/auditEvents.ts'
export * from './queries/firstTexts.ts'
export * from './queries/messages.ts'
export * from './queries/organisations.ts'
export * from './queries/readMarkers.ts'
export * from './queries/roomList.ts'
export * from './queries/rooms.ts'
export * from './queries/signingKeys.ts'
export * from './queries/userTokens.ts'
export type { MessageOutline } from './query/messageText.ts'
export { PREVIEW_CHARACTERS, previewOf } from './query/preview.ts'
export {
  allOrganisations,
  type OrgScope,
  type RoomScope,
} from './query/scope.ts'
export type {
  ApiKeyRow,
  AuditEventRow,
  EventRow,
  EventType,
  MessageRow,
  NewEvent,
  ReadMarkerRow,
  RoomRow,
  SigningKeyRow,
  UserTokenRevocationRow,
} from './tables.ts'
