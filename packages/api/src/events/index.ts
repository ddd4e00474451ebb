import { createStreamTokenProcedure } from './createStreamToken.ts'
import { listEventsProcedure } from './listEvents.ts'
import { onInboxEventsProcedure } from './onInboxEvents.ts'
import { onRoomEventsProcedure } from './onRoomEvents.ts'
import { onUserEventsProcedure } from './onUserEvents.ts'
import { setTypingProcedure } from './setTyping.ts'

export const eventProcedures = {
  listEvents: listEventsProcedure,
  onRoomEvents: onRoomEventsProcedure,
  onInboxEvents: onInboxEventsProcedure,
  onUserEvents: onUserEventsProcedure,
  createStreamToken: createStreamTokenProcedure,
  setTyping: setTypingProcedure,
}
