import { type SelectQueryBuilder, sql } from 'kysely'
import type { Session } from '../engine/session.ts'
import { dialectOf, eachOf, type ReadBuilder } from '../query/builder.ts'
import { type MessageOutline, outlineColumns, shortText, withText } from '../query/messageText.ts'
import { type Params, prepared } from '../query/prepared.ts'
import type { RoomScope } from '../query/scope.ts'
import { columnsOf, type EventRow, type MessageRow, type RoomRow } from '../tables.ts'
import { currentEpoch } from './epoch.ts'

/** An event with the current state of its room and message. */
export interface LoggedEvent {
  readonly event: EventRow
  readonly room: RoomRow
  /** Undefined if the event is not about a message. */
  readonly message: MessageRow | undefined
  /** The epoch of the log. */
  readonly epoch: string
}

interface Range {
  readonly orgId: string
  /** The last position read before. */
  readonly after: number
  /** The last position to read. */
  readonly upTo: number
  /** Maximum number of events. */
  readonly limit: number
}

/** A part of a range, in order. */
export interface EventPage {
  readonly events: LoggedEvent[]
  /** True if the range has no more events. */
  readonly isComplete: boolean
}

export interface EventFilter extends Omit<RoomScope, 'orgId'> {
  /** If undefined, the rooms of all products. */
  readonly productName?: string | undefined
}

/**
 * Reads events of an organisation in order, of all its rooms or of some.
 *
 * @param maxBytes maximum size of all message texts together; the first event always fits
 */
export async function eventsInScope(
  session: Session,
  {
    orgId,
    after,
    upTo,
    limit,
    maxBytes,
    ...filter
  }: Range & EventFilter & { readonly maxBytes: number },
): Promise<EventPage> {
  const rows = await outlinesInScope(session, { orgId, after, upTo, limit }, filter)
  let bytes = 0
  let count = 0
  for (const row of rows) {
    bytes += Number(row.m_bytes)
    if (bytes > maxBytes && count > 0) break
    count++
  }
  const found = rows.slice(0, count)
  const ids = found.filter(isTextLeftOut).map((row) => row.m_id as string)
  const texts = new Map<string, string>()
  if (ids.length > 0) {
    for (const { id, message_data } of await textsQuery(session, {
      orgId,
      ids: JSON.stringify(ids),
    })) {
      texts.set(id, message_data)
    }
  }
  return {
    events: found.map((row) => toLoggedEvent(row, texts)),
    isComplete: rows.length < limit && count === rows.length,
  }
}

function isTextLeftOut(row: Record<string, unknown>): boolean {
  return row.m_id !== null && row.m_message_data === null
}

async function outlinesInScope(
  session: Session,
  range: Range,
  filter: EventFilter,
): Promise<Record<string, unknown>[]> {
  const { roomIds, userId = null, productName = null } = filter
  if (roomIds !== undefined) {
    const ids = JSON.stringify([...new Set(roomIds)])
    return eventsOfRoomsQuery(session, { ...range, ids, userId, productName })
  }
  if (userId !== null) return eventsOfUserQuery(session, { ...range, userId, productName })
  return eventsOfProductQuery(session, { ...range, productName })
}

const textsQuery = prepared((db, where: Params<{ orgId: string; ids: string }>) =>
  db
    // Fixes the join order and the index: SQLite may scan the organisation's messages otherwise.
    .selectFrom(eachOf(db, where.ids).as('given'))
    .crossJoin('messages')
    .select(['messages.id', 'message_data'])
    .whereRef('messages.id', '=', 'given.value')
    .where((eb) => eb(eb.fn.coalesce('org_id', 'org_id'), '=', where.orgId)),
)

const eventsOfProductQuery = prepared((db, where: Params<Range & { productName: string | null }>) =>
  selectLogged(db)
    .where('e.org_id', '=', where.orgId)
    .where('e.position', '>', where.after)
    .where('e.position', '<=', where.upTo)
    .where('r.product_name', '=', (eb) => eb.fn.coalesce(where.productName, 'r.product_name'))
    .orderBy('e.position', 'asc')
    .limit(where.limit),
)

const eventsOfUserQuery = prepared(
  (db, where: Params<Range & { userId: string; productName: string | null }>) =>
    roomByRoom(
      db,
      where,
      db
        .selectFrom('rooms')
        .select('id')
        .where('org_id', '=', where.orgId)
        .where('user_id', '=', where.userId)
        .where('product_name', '=', (eb) => eb.fn.coalesce(where.productName, 'product_name')),
    ),
)

const eventsOfRoomsQuery = prepared(
  (db, where: Params<Range & { ids: string; userId: string | null; productName: string | null }>) =>
    roomByRoom(
      db,
      where,
      db
        .selectFrom(eachOf(db, where.ids).as('given'))
        .crossJoin('rooms')
        .select('rooms.id')
        .whereRef('rooms.id', '=', 'given.value')
        .where('user_id', '=', (eb) => eb.fn.coalesce(where.userId, 'user_id'))
        .where('product_name', '=', (eb) => eb.fn.coalesce(where.productName, 'product_name')),
    ),
)

/**
 * Finds the events of a few rooms, each by its own index range. Reads at most `limit` events of a room: the first `limit`
 * events of all rooms end no later than those of the room that first has `limit` of them.
 */
function roomByRoom<DB, From extends keyof DB>(
  db: ReadBuilder,
  where: Params<Range>,
  rooms: SelectQueryBuilder<DB, From, { id: string }>,
) {
  const first = db
    .with(
      (cte) => cte('wanted').materialized(),
      () => rooms,
    )
    // Fixes the join order.
    .selectFrom('wanted')
    .crossJoin('events')
    .select('events.position')
    .where('events.org_id', '=', where.orgId)
    .whereRef('events.room_id', '=', 'wanted.id')
    .where('events.position', '>', where.after)
    .where('events.position', '<=', (eb) =>
      eb.fn.coalesce(
        eb.selectFrom('wanted as each').select((eb) =>
          eb.fn
            .min(
              eb
                .selectFrom('events as own')
                .select('own.position')
                .where('own.org_id', '=', where.orgId)
                .whereRef('own.room_id', '=', 'each.id')
                .where('own.position', '>', where.after)
                .where('own.position', '<=', where.upTo)
                .orderBy('own.position', 'asc')
                .limit(1)
                .offset(eb(eb.cast<number>(where.limit, 'integer'), '-', sql.lit(1))),
            )
            .as('bound'),
        ),
        where.upTo,
      ),
    )
    .orderBy('events.position', 'asc')
    .limit(where.limit)
  return selectLogged(db)
    .where('e.org_id', '=', where.orgId)
    .where('e.position', 'in', first)
    .orderBy('e.position', 'asc')
}

const eventColumns = columnsOf('events')
const roomColumns = columnsOf('rooms')

/**
 * Events with their rooms. PostgreSQL looks up the room of each event, which `offset 0` makes it do: otherwise it may begin
 * with all rooms, and read and sort all of their events, in its first calls on a connection or in a log of 10^7 events.
 */
function eventsWithRooms(db: ReadBuilder) {
  const events = db.selectFrom('events as e')
  if (dialectOf(db) === 'sqlite') return events.innerJoin('rooms as r', 'r.id', 'e.room_id')
  return events.innerJoinLateral(
    (eb) =>
      eb
        .selectFrom('rooms')
        .selectAll()
        .whereRef('rooms.id', '=', 'e.room_id')
        .offset(sql.lit(0))
        .as('r'),
    (join) => join.onTrue(),
  ) as never
}

function selectLogged(db: ReadBuilder) {
  return eventsWithRooms(db)
    .leftJoin('messages as m', (join) =>
      join
        .onRef('m.org_id', '=', 'e.org_id')
        .onRef('m.room_id', '=', 'e.room_id')
        .onRef('m.seq', '=', 'e.message_seq'),
    )
    .select([
      ...eventColumns.map((column) => sql.ref(`e.${column}`).as(`e_${column}`)),
      ...roomColumns.map((column) => sql.ref(`r.${column}`).as(`r_${column}`)),
      ...outlineColumns.map((column) => sql.ref(`m.${column}`).as(`m_${column}`)),
      shortText('m.message_data').as('m_message_data'),
      sql<number>`coalesce(octet_length(m.message_data), 0)`.as('m_bytes'),
      currentEpoch(db).as('epoch'),
    ])
}

const eventKeys = keysOf('e_', eventColumns)
const roomKeys = keysOf('r_', roomColumns)
const messageKeys = keysOf('m_', [...outlineColumns, 'message_data'])

function keysOf<Column extends string>(prefix: string, columns: readonly Column[]) {
  return columns.map((column) => [column, prefix + column] as const)
}

function toLoggedEvent(
  row: Record<string, unknown>,
  texts: ReadonlyMap<string, string>,
): LoggedEvent {
  return {
    event: pick<EventRow>(row, eventKeys),
    room: pick<RoomRow>(row, roomKeys),
    message:
      row.m_id === null
        ? undefined
        : withText(pick<MessageOutline>(row, messageKeys), texts.get(row.m_id as string)),
    epoch: row.epoch as string,
  }
}

function pick<Row>(
  row: Record<string, unknown>,
  keys: readonly (readonly [column: keyof Row & string, key: string])[],
): Row {
  const picked: Record<string, unknown> = {}
  for (const [column, key] of keys) picked[column] = row[key]
  return picked as Row
}
