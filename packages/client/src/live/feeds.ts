import type { Inputs } from '@dowell-chat/api'
import type { Calls } from '../types.ts'
import type { FeedEvent, RoomFeedEvent } from './events.ts'
import { createFeed, type Feed } from './feed.ts'
import type { Hub } from './hub.ts'
import type { Target } from './target.ts'

/** Who reads the room, for a caller with an API key or without any: a user token is its own reader. */
export type RoomFeedOptions = Omit<Inputs['getRoomSnapshot'], 'roomId'>

type InboxFeedInput = Pick<Inputs['onInboxEvents'], 'orgId' | 'productName'>
type UserFeedInput = Pick<Inputs['onUserEvents'], 'orgId' | 'userId' | 'productName'>

export interface Feeds {
  /** What happens in one room. Begins with a `snapshot`, and with another one whenever events are missing. */
  room(roomId: string, options?: RoomFeedOptions): Feed<RoomFeedEvent>
  /** What happens in an organisation's rooms, for a customer in their own. Begins with a `reset`: read your list then. */
  inbox(input: InboxFeedInput): Feed<FeedEvent>
  /** What happens in all rooms of one end user. Begins with a `reset`: read your list then. */
  user(input: UserFeedInput): Feed<FeedEvent>
}

export function createFeeds(
  hub: Hub,
  { getRoomSnapshot, getRoomById }: Pick<Calls, 'getRoomSnapshot' | 'getRoomById'>,
): Feeds {
  function listFeed(target: Target): Feed<FeedEvent> {
    return createFeed<FeedEvent>(hub, {
      begin: async (_signal, place) => {
        await hub.prepare()
        return { target, place }
      },
      onReset: (event) => event,
    })
  }

  return {
    room(roomId, options = {}) {
      const targetIn = (orgId: string): Target => ({
        kind: 'room',
        orgId,
        roomId,
        side: options.readerSide,
      })
      return createFeed<RoomFeedEvent>(hub, {
        async begin(signal, place) {
          if (place) {
            const { orgId } = await getRoomById({ roomId }, { signal })
            return { target: targetIn(orgId), place }
          }
          const snapshot = await getRoomSnapshot({ ...options, roomId }, { signal })
          const { position, cursor } = snapshot
          return {
            target: targetIn(snapshot.room.orgId),
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
