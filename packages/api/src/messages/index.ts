import { markReadProcedure } from '../reading/markRead.ts'
import { createMessageProcedure } from './createMessage.ts'
import { deleteMessageProcedure } from './deleteMessage.ts'
import { getMessagesProcedure } from './getMessages.ts'
import { getRoomSnapshotProcedure } from './getRoomSnapshot.ts'
import { updateMessageProcedure } from './updateMessage.ts'

export const messageProcedures = {
  createMessage: createMessageProcedure,
  updateMessage: updateMessageProcedure,
  deleteMessage: deleteMessageProcedure,
  getMessages: getMessagesProcedure,
  getRoomSnapshot: getRoomSnapshotProcedure,
  markRead: markReadProcedure,
}
