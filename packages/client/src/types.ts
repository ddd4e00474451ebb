import type { CallName, Inputs, Outputs } from '@dowell-chat/api'

export type { Inputs, Outputs }

export type Room = Outputs['getRoomById']
export type Message = Outputs['createMessage']['message']
export type RoomPage = Outputs['listRooms']
export type MessagePage = Outputs['getMessages']

export interface CallOptions {
  /** Abandons the call. What the server has begun it may still finish. */
  readonly signal?: AbortSignal
}

/** The procedures by their flat names. Every call rejects with a {@link DowellChatError}. */
export type Calls = {
  readonly [Name in CallName]: (
    input: Inputs[Name],
    options?: CallOptions,
  ) => Promise<Outputs[Name]>
}
