import { type Kysely, sql } from 'kysely'
import { prepared, type Slots } from '../prepared.ts'
import type { EventRow, MessageRow, RoomRow, Tables } from '../tables.ts'
import type { Tx } from '../transaction.ts'
import type { RoomScope } from './rooms.ts'

/** An event before it has its position. */
export type NewEvent = Pick<EventRow, 'org_id' | 'room_id' | 'type' | 'created_at'> &
  Partial<Pick<EventRow, 'message_seq' | 'marker_seq' | 'user_id' | 'side'>>

/** An event with what it is about, as that is now. */
export interface LoggedEvent {
  readonly event: EventRow
  readonly room: RoomRow
  /** Of an event about a message. */
  readonly message: MessageRow | undefined
}

const advancingLog = prepared((tx, where: Slots<{ orgId: string; count: number }>) =>
  tx
    .updateTable('organisations')
    .set((eb) => ({ last_event_position: eb('last_event_position', '+', where.count) }))
    .where('id', '=', where.orgId)
    .returning('last_event_position'),
)

const insertingEvent = prepared((tx, row: Slots<EventRow>) =>
  tx.insertInto('events').values({
    org_id: row.org_id,
    position: row.position,
    room_id: row.room_id,
    type: row.type,
    message_seq: row.message_seq,
    marker_seq: row.marker_seq,
    user_id: row.user_id,
    side: row.side,
    created_at: row.created_at,
  }),
)

/** Gives events their positions, in the order in which they come, and stores them. Their organisations must exist. */
export async function writeEvents(tx: Tx, events: readonly NewEvent[]): Promise<void> {
  // In one order of organisations everywhere, so that no two transactions wait for each other.
  const byOrganisation = [...Map.groupBy(events, (event) => event.org_id)].sort(([a], [b]) =>
    a < b ? -1 : 1,
  )
  for (const [orgId, own] of byOrganisation) {
    const [organisation] = await advancingLog(tx, { orgId, count: own.length })
    if (!organisation) throw new Error('an event of an organisation that does not exist')
    let position = organisation.last_event_position - own.length
    for (const event of own) {
      const empty = { message_seq: null, marker_seq: null, user_id: null, side: null }
      await insertingEvent(tx, { ...empty, ...event, position: ++position })
    }
  }
}

const bounds = prepared((db, where: Slots<{ orgId: string }>) =>
  db
    .selectFrom('organisations')
    .select((eb) => [
      'last_event_position as head',
      eb
        .selectFrom('events')
        .select('position')
        .where('org_id', '=', where.orgId)
        .orderBy('position', 'asc')
        .limit(1)
        .as('oldest'),
    ])
    .where('id', '=', where.orgId),
)

/**
 * Where an organisation's log ends, and from where on it is complete: whoever has read up to `floor` or further has
 * missed nothing. Both 0 for an organisation that does not exist.
 */
export async function eventLogBounds(
  db: Kysely<Tables>,
  where: { orgId: string },
): Promise<{ head: number; floor: number }> {
  const [row] = await bounds(db, where)
  if (!row) return { head: 0, floor: 0 }
  return { head: row.head, floor: row.oldest === null ? row.head : row.oldest - 1 }
}

/** Where the logs of some organisations end. */
export async function eventLogHeads(
  db: Kysely<Tables>,
  orgIds: readonly string[],
): Promise<{ orgId: string; head: number }[]> {
  if (orgIds.length === 0) return []
  return db
    .selectFrom('organisations')
    .select(['id as orgId', 'last_event_position as head'])
    .where('id', 'in', orgIds)
    .execute()
}

interface Range {
  readonly orgId: string
  /** The last position that was read. */
  readonly after: number
  /** The last position that is wanted. */
  readonly upTo: number
  /** Events, at most. */
  readonly limit: number
}

/** The events of an organisation, in order; for the one reader that reads for all. */
export const eventsInRange = async (db: Kysely<Tables>, where: Range): Promise<LoggedEvent[]> =>
  (await allInRange(db, where)).map(split)

const allInRange = prepared((db, where: Slots<Range>) =>
  logged(db)
    .where('e.org_id', '=', (eb) => eb.cast<string>(where.orgId, 'text'))
    .where('e.position', '>', where.after)
    .where('e.position', '<=', where.upTo)
    .orderBy('e.position', 'asc')
    .limit(where.limit),
)

export interface EventFilter extends Omit<RoomScope, 'orgId'> {
  /** Left out: the rooms of all products. */
  readonly productName?: string | undefined
}

/** The same, of the rooms that a caller sees and asks for. */
export async function eventsInScope(
  db: Kysely<Tables>,
  { orgId, after, upTo, limit, ...filter }: Range & EventFilter,
): Promise<LoggedEvent[]> {
  let query = logged(db)
    .where('e.org_id', '=', orgId)
    .where('e.position', '>', after)
    .where('e.position', '<=', upTo)
    .orderBy('e.position', 'asc')
    .limit(limit)
  const { roomIds, userId, productName } = filter
  if (roomIds !== undefined) query = query.where('e.room_id', 'in', roomIds)
  if (userId !== undefined) {
    query = query.where('r.user_id', '=', userId)
    // A user has few rooms: their events are found room by room, however many others there are.
    if (roomIds === undefined) {
      query = query.where('e.room_id', 'in', (eb) =>
        eb
          .selectFrom('rooms')
          .select('id')
          .where('org_id', '=', orgId)
          .where('user_id', '=', userId),
      )
    }
  }
  if (productName !== undefined) query = query.where('r.product_name', '=', productName)
  return (await query.execute()).map(split)
}

const eventColumns = [
  'org_id',
  'position',
  'room_id',
  'type',
  'message_seq',
  'marker_seq',
  'user_id',
  'side',
  'created_at',
] as const satisfies (keyof EventRow)[]

const roomColumns = [
  'id',
  'org_id',
  'position',
  'event_id',
  'user_id',
  'portfolio_name',
  'product_name',
  'room_room_id',
  'is_active',
  'last_seq',
  'last_message',
  'created_at',
  'updated_at',
  'version',
  'support_count',
  'subject',
  'status',
  'assignee',
  'labels',
  'custom',
] as const satisfies (keyof RoomRow)[]

const messageColumns = [
  'org_id',
  'room_id',
  'seq',
  'id',
  'side',
  'author',
  'message_type',
  'message_data',
  'client_message_id',
  'is_active',
  'created_at',
  'support_count',
  'edited_at',
  'deleted_at',
] as const satisfies (keyof MessageRow)[]

function logged(db: Kysely<Tables>) {
  return db
    .selectFrom('events as e')
    .innerJoin('rooms as r', 'r.id', 'e.room_id')
    .leftJoin('messages as m', (join) =>
      join
        .onRef('m.org_id', '=', 'e.org_id')
        .onRef('m.room_id', '=', 'e.room_id')
        .onRef('m.seq', '=', 'e.message_seq'),
    )
    .select([
      ...eventColumns.map((column) => sql.ref(`e.${column}`).as(`e_${column}`)),
      ...roomColumns.map((column) => sql.ref(`r.${column}`).as(`r_${column}`)),
      ...messageColumns.map((column) => sql.ref(`m.${column}`).as(`m_${column}`)),
    ])
}

function split(row: Record<string, unknown>): LoggedEvent {
  return {
    event: pick<EventRow>(row, 'e_', eventColumns),
    room: pick<RoomRow>(row, 'r_', roomColumns),
    message: row.m_id === null ? undefined : pick<MessageRow>(row, 'm_', messageColumns),
  }
}

function pick<Row>(
  row: Record<string, unknown>,
  prefix: string,
  columns: readonly (keyof Row & string)[],
): Row {
  return Object.fromEntries(columns.map((column) => [column, row[prefix + column]])) as Row
}

/** The oldest events of an organisation, for whoever decides which of them are too old. */
export async function oldestEvents(
  db: Kysely<Tables>,
  { orgId, limit }: { orgId: string; limit: number },
): Promise<Pick<EventRow, 'position' | 'created_at'>[]> {
  return db
    .selectFrom('events')
    .select(['position', 'created_at'])
    .where('org_id', '=', orgId)
    .orderBy('position', 'asc')
    .limit(limit)
    .execute()
}

/** Forgets an organisation's events up to and including a position. */
export async function deleteEvents(
  tx: Tx,
  { orgId, upTo }: { orgId: string; upTo: number },
): Promise<void> {
  await tx.deleteFrom('events').where('org_id', '=', orgId).where('position', '<=', upTo).execute()
}
