export {
  type CallOptions,
  createDowellChat,
  type DowellChat,
  type DowellChatOptions,
} from './client.ts'
export { DowellChatError, type DowellChatErrorCode } from './error.ts'
export type { Inputs, Message, MessagePage, Outputs, Room, RoomPage } from './types.ts'
