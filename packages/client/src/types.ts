import type { CallName, Inputs, Outputs } from '@dowell-chat/api'

export type { Inputs, Outputs }

/** A conversation of an end user with an organisation. */
export type Room = Outputs['getRoomById']
/** A message of a room. */
export type Message = Outputs['createMessage']['message']
/** A page of rooms. */
export type RoomPage = Outputs['listRooms']
/** A page of messages. */
export type MessagePage = Outputs['getMessages']

/** Options of every call. */
export interface CallOptions {
  /** Rejects the call with the signal's reason. The server may still complete it. */
  readonly signal?: AbortSignal
}

/** One method per operation. A failed call rejects with a {@link DowellChatError}. */
export type Calls = {
  readonly [Name in CallName]: (
    input: Inputs[Name],
    options?: CallOptions,
  ) => Promise<Outputs[Name]>
}
