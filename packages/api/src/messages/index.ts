import { createMessageProcedure } from './createMessage.ts'
import { getMessagesProcedure } from './getMessages.ts'

export const messageProcedures = {
  createMessage: createMessageProcedure,
  getMessages: getMessagesProcedure,
}
