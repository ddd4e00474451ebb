import { findRoomWithEpochs, type RoomRow } from '@dowell-chat/db'
import { z } from 'zod'
import { checkCursorEpoch } from '../encoding/cursorEpoch.ts'
import { DEFAULT_LIMIT, type Page, type PageRef, pageInput, toPageRef } from '../encoding/paging.ts'
import { readers } from '../operation/access.ts'
import type { Call } from '../operation/context.ts'
import { query } from '../operation/operation.ts'
import { getRoomOrThrow, roomNotFound, versionOf } from '../rooms/policy.ts'
import { roomId } from '../rooms/schema.ts'
import { exampleMessagePage, type ItemFrame, MessagePage, plainFrame, readPage } from './page.ts'
import { exampleMessage, type Message } from './schema.ts'

const input = z.strictObject({ roomId, ...pageInput })

/**
 * Reads a page of messages, and its room as it was before that.
 *
 * @param frameOf the overhead per message in a wire format, for the size limit of the page
 * @throws AppError NOT_FOUND; BAD_REQUEST for an invalid cursor; CURSOR_TOO_OLD
 */
export async function readMessagePage(
  call: Call,
  { roomId, limit = DEFAULT_LIMIT, ...page }: z.output<typeof input>,
  frameOf?: (room: RoomRow) => ItemFrame,
): Promise<{ room: RoomRow; page: Page<Message> }> {
  const { db, latestPages } = call.deps
  const ref = toPageRef('m', page)
  const { room, epoch } = await findRoomOfPage(call, roomId, ref)
  // The cursors of a page end with the epoch, although its messages stay.
  const suffix = epoch === undefined ? '' : ` ${epoch}`
  call.atVersion?.(versionOf(room) + suffix)
  const frame = frameOf?.(room) ?? plainFrame
  const read = () => readPage(db.read, room, limit, ref, epoch, frame)
  if (ref.kind !== 'newest') return { room, page: await read() }
  const latest =
    latestPages.get(room, limit, frame.format + suffix) ??
    latestPages.set(room, limit, frame.format + suffix, await read())
  return { room, page: latest }
}

/** Finds the room of a page and the epoch of its cursors, in one statement where it must not be an earlier one. */
async function findRoomOfPage(
  call: Call,
  roomId: string,
  ref: PageRef,
): Promise<{ room: RoomRow; epoch: string | undefined }> {
  const { db, cursorEpoch } = call.deps
  if (!('boundary' in ref)) {
    return { room: await getRoomOrThrow(call, roomId), epoch: await cursorEpoch.current() }
  }
  const room = await findRoomWithEpochs(db.read, { ...call.scope, roomId })
  if (!room) throw roomNotFound()
  return { room, epoch: checkCursorEpoch(ref, room) }
}

/**
 * Reads a page of a room's messages, oldest first; of a deleted room too. Without a cursor: the newest page.
 *
 * @throws AppError FORBIDDEN; NOT_FOUND; BAD_REQUEST for an invalid cursor; CURSOR_TOO_OLD
 */
export const getMessages = query({
  access: readers,
  cost: 'read',
  input,
  output: MessagePage,
  errors: ['NOT_FOUND', 'CURSOR_TOO_OLD'],
  rest: {
    method: 'GET',
    path: '/api/v3/rooms/{roomId}/messages',
    tag: 'messages',
    summary: "Read a room's messages",
    description:
      'Oldest first, in pages of at most about 1 MiB; without a cursor the newest page. `hasBefore` and `hasAfter` say whether there is more.',
  },
  example: {
    input: { roomId: exampleMessage.roomId, limit: 50 },
    output: exampleMessagePage,
  },
  async run(call, request) {
    return (await readMessagePage(call, request)).page
  },
})
