import {
  type EventLogBounds,
  eventLogBounds,
  eventsInScope,
  type LoggedEvent,
} from '@dowell-chat/db'
import { z } from 'zod'
import { fittingRange, jsonBytes, PAGE_BYTES } from '../encoding/pageBytes.ts'
import { DEFAULT_LIMIT, pageInput } from '../encoding/paging.ts'
import { assertOrganisation } from '../operation/access.ts'
import { AppError, badField } from '../operation/errors.ts'
import { query } from '../operation/operation.ts'
import { getRoomOrThrow } from '../rooms/policy.ts'
import { listing, roomBytesAtMost, roomId, roomIdentity } from '../rooms/schema.ts'
import { decodeEventCursor, encodeEventCursor, isOfEpoch } from './cursor.ts'
import { Event, exampleEvent, toEvent } from './schema.ts'

const input = z.strictObject({
  ...listing,
  userId: roomIdentity.userId.meta({ description: 'Only the rooms of this end user.' }).optional(),
  roomId: roomId.meta({ description: 'Only this room.' }).optional(),
  after: pageInput.after.meta({
    description: 'The cursor after which to begin; left out: with the oldest event that is kept.',
  }),
  limit: pageInput.limit,
})

const output = z
  .object({
    items: z.array(Event).meta({ description: 'In the order in which they happened.' }),
    after: z.string().meta({
      description: 'Give it as `after` for the events that come after these; later too.',
      example: exampleEvent.cursor,
    }),
    hasAfter: z.boolean().meta({
      description: 'Whether there may be more already; a page may be empty and not the last.',
    }),
  })
  .meta({ id: 'EventPage', additionalProperties: true })

/** Positions of one read that looks at every room's events, and such reads of one call: what is asked for may be rare. */
const WINDOW = 2_000
const MAX_READS = 10

/** Bytes of JSON, or a little more. */
function eventBytes({ room, message }: LoggedEvent): number {
  return message
    ? 1_000 + jsonBytes(message.message_data) + jsonBytes(message.author)
    : roomBytesAtMost(room)
}

/** @throws AppError BAD_REQUEST; CURSOR_TOO_OLD for a cursor of another epoch, whose holder has to do the same about it */
function positionOf(orgId: string, text: string, log: EventLogBounds): number {
  const cursor = decodeEventCursor(orgId, text)
  if (cursor && !isOfEpoch(cursor, log)) {
    throw new AppError('CURSOR_TOO_OLD', {
      message: 'The cursor is of before the database was restored or failed over',
    })
  }
  if (!cursor || cursor.position > log.head) {
    throw badField('after', "is not a cursor of this organisation's event log")
  }
  return cursor.position
}

/**
 * The events of an organisation's rooms after a place in its log, for a customer only of their own.
 *
 * @throws AppError FORBIDDEN; NOT_FOUND for another organisation, or a room that is not the caller's; BAD_REQUEST for an
 *   invalid cursor; CURSOR_TOO_OLD; SERVICE_UNAVAILABLE when the log went back meanwhile
 */
export const listEvents = query({
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
  output,
  errors: ['NOT_FOUND', 'CURSOR_TOO_OLD'],
  rest: {
    method: 'GET',
    path: '/api/v3/event-log',
    tag: 'events',
    summary: "Read an organisation's event log",
    description:
      'What happened after a cursor, oldest first, a page at a time: for who asks now and then. A page has about 1 MiB at most; `hasAfter` says whether there is more. The streams bring the same events as they happen.',
  },
  example: {
    input: { orgId: 'DOWELL12345', after: exampleEvent.cursor, limit: 50 },
    output: { items: [exampleEvent], after: exampleEvent.cursor, hasAfter: false },
  },
  async run({ deps, scope }, { orgId, roomId, userId, productName, after, limit = DEFAULT_LIMIT }) {
    assertOrganisation(scope, orgId)
    if (roomId !== undefined) await getRoomOrThrow({ deps, scope }, roomId)
    const bounds = await eventLogBounds(deps.db.read, { orgId })
    const { head, floor, epoch } = bounds
    const found: LoggedEvent[] = []
    const start = after === undefined ? floor : positionOf(orgId, after, bounds)
    const filter = {
      orgId,
      productName,
      userId: scope.userId ?? userId,
      roomIds: roomId === undefined ? scope.roomIds : [roomId],
    }
    const isForeign = userId !== undefined && scope.userId !== undefined && userId !== scope.userId
    let position = isForeign ? head : start
    let bytes = 0
    const isWide = filter.roomIds === undefined && filter.userId === undefined
    for (let reads = 0; position < head && found.length < limit && reads < MAX_READS; reads++) {
      const upTo = isWide ? Math.min(head, position + WINDOW) : head
      const range = { after: position, upTo, limit: limit - found.length, maxBytes: PAGE_BYTES }
      const { events, isComplete } = await eventsInScope(deps.db.read, { ...filter, ...range })
      const sizes = events.map(eventBytes)
      const [, fitting] = fittingRange(sizes, 0, PAGE_BYTES - bytes)
      // One event always comes, also one that does not fit: but not after others.
      const isFull = bytes > 0 && bytes + (sizes[0] ?? 0) > PAGE_BYTES
      const taken = isFull ? [] : events.slice(0, fitting)
      found.push(...taken)
      bytes += sizes.slice(0, taken.length).reduce((sum, size) => sum + size, 0)
      const isCut = taken.length < events.length
      if (isComplete && !isCut) position = upTo
      else position = taken.at(-1)?.event.position ?? position
      if (isCut) break
    }
    // Asked when all is read: what is forgotten meanwhile would be missing without a word.
    const now = await eventLogBounds(deps.db.read, { orgId })
    // Read partly before a failover and partly after it. The next try says what became of the cursor.
    if (now.epoch !== epoch || now.head < head) {
      throw new AppError('SERVICE_UNAVAILABLE', { retryAfter: 1 })
    }
    if (after !== undefined && start < now.floor) throw new AppError('CURSOR_TOO_OLD')
    // Who begins with the oldest begins later then: what was found before it may have a hole after it.
    position = Math.max(position, now.floor)
    return {
      items: found.filter(({ event }) => event.position > now.floor).map(toEvent),
      after: encodeEventCursor({ orgId, position, epoch }),
      hasAfter: position < head,
    }
  },
})
