export {
  createDowellChat,
  type DowellChat,
  type DowellChatOptions,
} from './client.ts'
export { DowellChatError, type DowellChatErrorCode } from './error.ts'
export type {
  ConnectionState,
  FeedEvent,
  LiveEvent,
  Place,
  ResetEvent,
  RoomFeedEvent,
  SnapshotEvent,
} from './live/events.ts'
export type { EventsOptions, Feed, SubscribeOptions } from './live/feed.ts'
export type { RoomFeedOptions } from './live/feeds.ts'
export type {
  CallOptions,
  Calls,
  Inputs,
  Message,
  MessagePage,
  Outputs,
  Room,
  RoomPage,
} from './types.ts'
