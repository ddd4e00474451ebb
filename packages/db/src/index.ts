export { type Database, type DatabaseOptions, openDatabase } from './database.ts'
export { DatabaseError, type DatabaseErrorReason } from './errors.ts'
export {
  findMessage,
  findMessageByClientId,
  insertMessage,
  messagesInRange,
} from './queries/messages.ts'
export { nextRoomPosition } from './queries/organisations.ts'
export {
  advanceRoom,
  findActiveRoom,
  findRoom,
  insertRoom,
  type RoomIdentity,
  type RoomListing,
  roomsNextTo,
  setRoomActive,
} from './queries/rooms.ts'
export { anyOrganisation, type OrgScope } from './scope.ts'
export type { MessageRow, RoomRow } from './tables.ts'
export type { Tx } from './transaction.ts'
