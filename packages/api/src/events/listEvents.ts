import {
  type EventLogBounds,
  eventLogBounds,
  eventsInScope,
  type LoggedEvent,
} from '@dowell-chat/db'
import { z } from 'zod'
import { cursorOfOtherEpoch } from '../encoding/cursorEpoch.ts'
import { fittingRange, jsonBytes, PAGE_BYTES } from '../encoding/pageBytes.ts'
import { DEFAULT_LIMIT, pageInput } from '../encoding/paging.ts'
import { assertOrganisation, readers } from '../operation/access.ts'
import { AppError, badField } from '../operation/errors.ts'
import { query } from '../operation/operation.ts'
import { getRoomOrThrow, roomViewOf } from '../rooms/policy.ts'
import {
  type HiddenColumns,
  listing,
  roomBytesAtMost,
  roomId,
  roomIdentity,
  withoutHidden,
} from '../rooms/schema.ts'
import { decodeEventCursor, encodeEventCursor, isOfEpoch, NOW } from './cursor.ts'
import { Event, exampleEvent, toCustomerEvent, toEvent } from './schema.ts'

const input = z.strictObject({
  ...listing,
  userId: roomIdentity.userId.meta({ description: 'Only the rooms of this end user.' }).optional(),
  roomId: roomId.meta({ description: 'Only this room.' }).optional(),
  after: pageInput.after.meta({
    description: `Begin after this cursor. Without it: with the oldest stored event. \`${NOW}\`: no events, only the cursor of the newest one, to begin from now.`,
  }),
  limit: pageInput.limit,
})

const output = z
  .object({
    items: z.array(Event).meta({ description: 'In the order in which they happened.' }),
    after: z.string().meta({
      description: 'Send it as `after` for the next events, also later.',
      example: exampleEvent.cursor,
    }),
    hasAfter: z.boolean().meta({
      description: 'Whether there may be more events. Even an empty page may not be the last.',
    }),
  })
  .meta({ id: 'EventPage', additionalProperties: true })

/** Positions per read without a room or user filter; with MAX_READS it bounds a call that matches few events. */
const SCAN_WINDOW = 2_000
const MAX_READS = 10

/** Bytes of an event as JSON, or a little more. */
function eventBytes({ room, message }: LoggedEvent, hidden: HiddenColumns): number {
  return message
    ? 1_000 + jsonBytes(message.message_data) + jsonBytes(message.author)
    : roomBytesAtMost(withoutHidden(room, hidden))
}

/** @throws AppError BAD_REQUEST; CURSOR_TOO_OLD for another epoch, since the client recovers in the same way */
function decodePosition(orgId: string, text: string, log: EventLogBounds): number {
  if (text === NOW) return log.head
  const cursor = decodeEventCursor(orgId, text)
  if (cursor && !isOfEpoch(cursor, log)) throw cursorOfOtherEpoch()
  if (!cursor || cursor.position > log.head) {
    throw badField('after', "is not a cursor of this organisation's event log")
  }
  return cursor.position
}

/**
 * Lists the events of an organisation's rooms after a cursor; a customer gets those of their own rooms.
 *
 * @throws AppError FORBIDDEN; NOT_FOUND for another organisation, or a room that the caller may not see; BAD_REQUEST for
 *   an invalid cursor; CURSOR_TOO_OLD; SERVICE_UNAVAILABLE when the log went back during the call
 */
export const listEvents = query({
  access: readers,
  cost: 'read',
  input,
  output,
  errors: ['NOT_FOUND', 'CURSOR_TOO_OLD'],
  rest: {
    method: 'GET',
    path: '/api/v3/event-log',
    tag: 'events',
    summary: "Read an organisation's event log",
    description:
      'Events after a cursor, oldest first, in pages of at most about 1 MiB. `hasAfter` says whether there is more. For polling: the streams send the same events as they happen.',
  },
  example: {
    input: { orgId: 'DOWELL12345', after: exampleEvent.cursor, limit: 50 },
    output: { items: [exampleEvent], after: exampleEvent.cursor, hasAfter: false },
  },
  async run(call, { orgId, roomId, userId, productName, limit = DEFAULT_LIMIT, ...from }) {
    const { deps, scope } = call
    const after = from.after || undefined
    assertOrganisation(scope, orgId)
    const { hidden } = await roomViewOf(call)
    if (roomId !== undefined) await getRoomOrThrow({ deps, scope }, roomId)
    const bounds = await eventLogBounds(deps.db.read, { orgId })
    const { head, floor, epoch } = bounds
    const collected: LoggedEvent[] = []
    const start = after === undefined ? floor : decodePosition(orgId, after, bounds)
    const filter = {
      orgId,
      productName,
      userId: scope.userId ?? userId,
      roomIds: roomId === undefined ? scope.roomIds : [roomId],
    }
    const isOtherUser =
      userId !== undefined && scope.userId !== undefined && userId !== scope.userId
    let position = isOtherUser ? head : start
    let bytes = 0
    const hasNarrowFilter = filter.roomIds !== undefined || filter.userId !== undefined
    for (let reads = 0; position < head && collected.length < limit && reads < MAX_READS; reads++) {
      const upTo = hasNarrowFilter ? head : Math.min(head, position + SCAN_WINDOW)
      const range = { after: position, upTo, limit: limit - collected.length, maxBytes: PAGE_BYTES }
      const { events, isComplete } = await eventsInScope(deps.db.read, { ...filter, ...range })
      const sizes = events.map((event) => eventBytes(event, hidden))
      const [, fitting] = fittingRange(sizes, 0, PAGE_BYTES - bytes)
      // An event that exceeds the limit by itself is returned alone.
      const isFull = bytes > 0 && bytes + (sizes[0] ?? 0) > PAGE_BYTES
      const taken = isFull ? [] : events.slice(0, fitting)
      collected.push(...taken)
      bytes += sizes.slice(0, taken.length).reduce((sum, size) => sum + size, 0)
      const isCut = taken.length < events.length
      if (isComplete && !isCut) position = upTo
      else position = taken.at(-1)?.event.position ?? position
      if (isCut) break
    }
    // Read last: events that the retention deleted in between would be missing without an error.
    const now = await eventLogBounds(deps.db.read, { orgId })
    // The reads straddle a failover. A retry tells whether the cursor is still valid.
    if (now.epoch !== epoch || now.head < head) {
      throw new AppError('SERVICE_UNAVAILABLE', { retryAfter: 1 })
    }
    const hasCursor = after !== undefined && after !== NOW
    if (hasCursor && start < now.floor) throw new AppError('CURSOR_TOO_OLD')
    // Without a cursor, begin at the new floor: events collected before it may have a gap behind them.
    position = Math.max(position, now.floor)
    return {
      items: collected
        .filter(({ event }) => event.position > now.floor)
        .map((logged) => toCustomerEvent(logged, toEvent(logged), hidden)),
      after: encodeEventCursor({ orgId, position, epoch }),
      hasAfter: position < head,
    }
  },
})
