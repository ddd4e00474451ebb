import type { RoomRow } from '@dowell-chat/db'
import { z } from 'zod'
import { DEFAULT_LIMIT, type Page, pageInput, placeOf } from '../encoding/paging.ts'
import type { Call } from '../operation/context.ts'
import { query } from '../operation/operation.ts'
import { getRoomOrThrow, versionOf } from '../rooms/policy.ts'
import { roomId } from '../rooms/schema.ts'
import { exampleMessagePage, type ItemFrame, MessagePage, messagePage, plainFrame } from './page.ts'
import { exampleMessage, type Message } from './schema.ts'

const input = z.strictObject({ roomId, ...pageInput })

/**
 * Reads a page of messages and the room that it was read for.
 *
 * @param frameOf what a wire adds to each message, so that its pages end by the bytes of that wire
 * @throws AppError NOT_FOUND; BAD_REQUEST for an invalid cursor
 */
export async function readMessagePage(
  call: Call,
  { roomId, limit = DEFAULT_LIMIT, ...place }: z.output<typeof input>,
  frameOf?: (room: RoomRow) => ItemFrame,
): Promise<{ room: RoomRow; page: Page<Message> }> {
  const { db, latestPages } = call.deps
  const where = placeOf('m', place)
  const room = await getRoomOrThrow(call, roomId)
  call.atVersion?.(versionOf(room))
  const frame = frameOf?.(room) ?? plainFrame
  const read = () => messagePage(db.read, room, limit, where, frame)
  if (where.kind !== 'newest') return { room, page: await read() }
  const page =
    latestPages.get(room, limit, frame.wire) ??
    latestPages.set(room, limit, frame.wire, await read())
  return { room, page }
}

/**
 * A page of a room's messages, oldest first, of deleted rooms too. Without a cursor: the newest page.
 *
 * @throws AppError NOT_FOUND; BAD_REQUEST for an invalid cursor
 */
export const getMessages = query({
  access: {
    open: 'any',
    adminKey: 'organisation',
    supportKey: 'organisation',
    readKey: 'organisation',
    supportToken: 'organisation',
    customerToken: 'own',
  },
  cost: 'read',
  input,
  output: MessagePage,
  errors: ['NOT_FOUND'],
  rest: {
    method: 'GET',
    path: '/api/v3/rooms/{roomId}/messages',
    tag: 'messages',
    summary: "Read a room's messages",
    description:
      'Oldest first, a page at a time; without a cursor the newest page. A page has about 1 MiB at most: `hasBefore` and `hasAfter` say whether there is more.',
  },
  example: {
    input: { roomId: exampleMessage.roomId, limit: 50 },
    output: exampleMessagePage,
  },
  async run(call, request) {
    return (await readMessagePage(call, request)).page
  },
})
