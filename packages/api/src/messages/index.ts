import { createMessageProcedure } from './createMessage.ts'
import { getMessagesProcedure } from './getMessages.ts'
import { getRoomSnapshotProcedure } from './getRoomSnapshot.ts'
import { markReadProcedure } from './markRead.ts'

export const messageProcedures = {
  createMessage: createMessageProcedure,
  getMessages: getMessagesProcedure,
  getRoomSnapshot: getRoomSnapshotProcedure,
  markRead: markReadProcedure,
}
