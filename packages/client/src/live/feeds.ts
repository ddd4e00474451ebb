import type { Inputs } from '@dowell-chat/api'
import type { Calls } from '../types.ts'
import type { FeedEvent, RoomFeedEvent } from './events.ts'
import { createFeed, type Feed } from './feed.ts'
import type { FeedManager } from './feedManager.ts'
import type { Target } from './streamRequest.ts'

/** The room's reader, for a caller with an API key or without a credential. A user token already names its reader. */
export type RoomFeedOptions = Omit<Inputs['getRoomSnapshot'], 'roomId'>

type InboxFeedInput = Pick<Inputs['onInboxEvents'], 'orgId' | 'productName'>
type UserFeedInput = Pick<Inputs['onUserEvents'], 'orgId' | 'userId' | 'productName'>

/** Creates feeds. A feed opens no connection until it is read. */
export interface Feeds {
  /** Events of one room. Starts with a `snapshot`, and sends another one when events are missing. */
  room(roomId: string, options?: RoomFeedOptions): Feed<RoomFeedEvent>
  /** Events of an organisation's rooms; for a customer, of their own. Starts with a `reset`: load your list then. */
  inbox(input: InboxFeedInput): Feed<FeedEvent>
  /** Events of all rooms of one end user. Starts with a `reset`: load your list then. */
  user(input: UserFeedInput): Feed<FeedEvent>
}

export function createFeeds(
  manager: FeedManager,
  { getRoomSnapshot, getRoomById }: Pick<Calls, 'getRoomSnapshot' | 'getRoomById'>,
): Feeds {
  function listFeed(target: Target): Feed<FeedEvent> {
    return createFeed<FeedEvent>(manager, {
      start: async (_signal, place) => {
        await manager.prepare()
        return { target, place }
      },
      onReset: (event) => event,
    })
  }

  return {
    room(roomId, options = {}) {
      const createTarget = (orgId: string): Target => ({
        kind: 'room',
        orgId,
        roomId,
        side: options.readerSide,
      })
      return createFeed<RoomFeedEvent>(manager, {
        async start(signal, place) {
          if (place) {
            const { orgId } = await getRoomById({ roomId }, { signal })
            return { target: createTarget(orgId), place }
          }
          const snapshot = await getRoomSnapshot({ ...options, roomId }, { signal })
          const { position, cursor } = snapshot
          return {
            target: createTarget(snapshot.room.orgId),
            place: { position, cursor },
            event: { type: 'snapshot', ...snapshot },
          }
        },
        onReset: () => undefined,
      })
    },
    inbox: ({ orgId, productName }) => listFeed({ kind: 'inbox', orgId, productName }),
    user: ({ orgId, userId, productName }) =>
      listFeed({ kind: 'user', orgId, userId, productName }),
  }
}
