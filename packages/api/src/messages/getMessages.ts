import type { RoomRow } from '@dowell-chat/db'
import { z } from 'zod'
import type { Actor } from '../auth/actor.ts'
import { DEFAULT_LIMIT, type Page, pageInput, placeOf } from '../encoding/paging.ts'
import type { AtVersion, Deps } from '../operation/context.ts'
import { procedure } from '../operation/trpc.ts'
import { readableRoom, versionOf } from '../rooms/policy.ts'
import { roomId } from '../rooms/schema.ts'
import { exampleMessagePage, type ItemFrame, MessagePage, messagePage, plainFrame } from './page.ts'
import { exampleMessage, type Message } from './schema.ts'

const input = z.strictObject({ roomId, ...pageInput })

/**
 * A page of a room's messages, oldest first, of deleted rooms too. Without a cursor: the newest page.
 *
 * @throws AppError NOT_FOUND; BAD_REQUEST for an invalid cursor
 */
export async function getMessages(
  deps: Deps,
  actor: Actor,
  request: z.output<typeof input>,
  atVersion?: AtVersion,
): Promise<Page<Message>> {
  return (await getMessagesOfRoom(deps, actor, request, { atVersion })).page
}

export interface MessagesOptions {
  readonly atVersion?: AtVersion | undefined
  /** What the wire of the answer adds to each message. */
  frameOf?(room: RoomRow): ItemFrame
}

/** The same with the room, as it was read for the page. */
export async function getMessagesOfRoom(
  deps: Deps,
  actor: Actor,
  { roomId, limit = DEFAULT_LIMIT, ...place }: z.output<typeof input>,
  { atVersion, frameOf }: MessagesOptions = {},
): Promise<{ room: RoomRow; page: Page<Message> }> {
  const where = placeOf('m', place)
  const room = await readableRoom(deps, actor, 'getMessages', roomId)
  atVersion?.(versionOf(room))
  const frame = frameOf?.(room) ?? plainFrame
  const read = () => messagePage(deps.db.read, room, limit, where, frame)
  if (where.kind !== 'newest') return { room, page: await read() }
  const { newestPages } = deps
  const page =
    newestPages.find(room, limit, frame.wire) ??
    newestPages.keep(room, limit, frame.wire, await read())
  return { room, page }
}

export const getMessagesProcedure = procedure
  .meta({
    openapi: {
      method: 'GET',
      path: '/api/v3/rooms/{roomId}/messages',
      tags: ['messages'],
      summary: "Read a room's messages",
      description:
        'Oldest first, a page at a time; without a cursor the newest page. A page has about 1 MiB at most: `hasBefore` and `hasAfter` say whether there is more.',
    },
    output: MessagePage,
    errors: ['NOT_FOUND'],
    example: {
      input: { roomId: exampleMessage.roomId, limit: 50 },
      output: exampleMessagePage,
    },
  })
  .input(input)
  .query(({ ctx, input }) => getMessages(ctx.deps, ctx.actor, input, ctx.atVersion))
