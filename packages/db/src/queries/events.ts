import { type Kysely, type SelectQueryBuilder, sql } from 'kysely'
import { dialectOf, eachOf } from '../dialectOf.ts'
import { currentEpoch, firstEpoch } from '../epoch.ts'
import { EventLogError } from '../errors.ts'
import { type MessageOutline, outlineColumns, shortText, withText } from '../messageText.ts'
import { prepared, type Slots } from '../prepared.ts'
import type { RoomScope } from '../roomScope.ts'
import type { EventRow, MessageRow, RoomRow, Tables } from '../tables.ts'
import type { Tx } from '../transaction.ts'

/** An event before it has its position. */
export type NewEvent = Pick<EventRow, 'org_id' | 'room_id' | 'type' | 'created_at'> &
  Partial<Pick<EventRow, 'message_seq' | 'marker_seq' | 'user_id' | 'side'>>

/** An event with what it is about, as that is now. */
export interface LoggedEvent {
  readonly event: EventRow
  readonly room: RoomRow
  /** Of an event about a message. */
  readonly message: MessageRow | undefined
  /** The epoch of the log that it was read from. */
  readonly epoch: string
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

const advancingLog = prepared((tx, where: Slots<Growth>) => advancedLog(tx, where))

interface Growth {
  readonly orgId: string
  readonly count: number
}

function advancedLog(tx: Pick<Tx, 'updateTable'>, where: Slots<Growth>) {
  return tx
    .updateTable('organisations')
    .set((eb) => ({ last_event_position: eb('last_event_position', '+', where.count) }))
    .where('id', '=', where.orgId)
    .returning('last_event_position')
}

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

const givenColumns = eventColumns.filter((column) => column !== 'org_id' && column !== 'position')

/** Of each column that is given, the values of all events. */
type Columns = { [Column in (typeof givenColumns)[number]]: EventRow[Column][] }

/** Both for all events of an organisation at once. PostgreSQL only. */
const appendingAll = prepared((tx, where: Slots<Growth & Columns>) =>
  tx
    .with('log', (cte) => advancedLog(cte, where).returning('id'))
    .insertInto('events')
    .columns(['org_id', 'position', ...givenColumns])
    .expression((eb) =>
      eb
        .selectFrom([
          'log',
          sql<Omit<EventRow, 'org_id' | 'position'> & { number: number }>`
            unnest(
              cast(${where.room_id} as text[]), cast(${where.type} as text[]),
              cast(${where.message_seq} as bigint[]), cast(${where.marker_seq} as bigint[]),
              cast(${where.user_id} as text[]), cast(${where.side} as bigint[]),
              cast(${where.created_at} as bigint[])
            ) with ordinality
          `.as<'e'>(
            sql`e(room_id, type, message_seq, marker_seq, user_id, side, created_at, number)`,
          ),
        ])
        .select((eb) => [
          'log.id as org_id',
          eb(eb('last_event_position', '-', where.count), '+', eb.ref('e.number')).as('position'),
          ...givenColumns.map((column) => `e.${column}` as const),
        ]),
    )
    .returning('position'),
)

/**
 * Gives events their positions, in the order in which they come, and stores them. Their organisations must exist.
 *
 * @throws EventLogError on PostgreSQL
 */
export async function writeEvents(tx: Tx, events: readonly NewEvent[]): Promise<void> {
  // In one order of organisations everywhere, so that no two transactions wait for each other.
  const byOrganisation = [...Map.groupBy(events, (event) => event.org_id)].sort(([a], [b]) =>
    a < b ? -1 : 1,
  )
  // PostgreSQL is sent all of it at once; what comes after a statement that fails then fails as well.
  if (dialectOf(tx) === 'postgres') {
    await Promise.all(
      byOrganisation.map(([orgId, own]) =>
        appendAtOnce(tx, orgId, own).catch((error) => {
          throw new EventLogError(orgId, error)
        }),
      ),
    )
    return
  }
  for (const [orgId, own] of byOrganisation) await appendOneByOne(tx, orgId, own)
}

async function appendAtOnce(tx: Tx, orgId: string, events: readonly NewEvent[]): Promise<void> {
  const [first] = await appendingAll(tx, {
    orgId,
    count: events.length,
    room_id: events.map((event) => event.room_id),
    type: events.map((event) => event.type),
    message_seq: events.map((event) => event.message_seq ?? null),
    marker_seq: events.map((event) => event.marker_seq ?? null),
    user_id: events.map((event) => event.user_id ?? null),
    side: events.map((event) => event.side ?? null),
    created_at: events.map((event) => event.created_at),
  })
  requireOrganisation(first)
}

async function appendOneByOne(tx: Tx, orgId: string, events: readonly NewEvent[]): Promise<void> {
  const [organisation] = await advancingLog(tx, { orgId, count: events.length })
  requireOrganisation(organisation)
  let position = organisation.last_event_position - events.length
  for (const event of events) {
    const empty = { message_seq: null, marker_seq: null, user_id: null, side: null }
    await insertingEvent(tx, { ...empty, ...event, position: ++position })
  }
}

function requireOrganisation<Row>(row: Row | undefined): asserts row is Row {
  if (row === undefined) throw new Error('an event of an organisation that does not exist')
}

const bounds = prepared((db, where: Slots<{ orgId: string }>) =>
  db.selectNoFrom((eb) => [
    currentEpoch(db).as('epoch'),
    firstEpoch.as('firstEpoch'),
    eb
      .selectFrom('organisations')
      .select('last_event_position')
      .where('id', '=', where.orgId)
      .as('head'),
    eb
      .selectFrom('events')
      .select('position')
      .where('org_id', '=', where.orgId)
      .orderBy('position', 'asc')
      .limit(1)
      .as('oldest'),
  ]),
)

/** Where a log ends, and in which epoch. */
export interface EventLogEnd {
  readonly epoch: string
  readonly head: number
}

export interface EventLogBounds extends EventLogEnd {
  /** From where on the log is complete: whoever has read up to here or further has missed nothing. */
  readonly floor: number
  /** The epoch of cursors that name none. */
  readonly firstEpoch: string
}

/** Where an organisation's log begins and ends. Both 0 for an organisation that does not exist. */
export async function eventLogBounds(
  db: Kysely<Tables>,
  where: { orgId: string },
): Promise<EventLogBounds> {
  const [row] = await bounds(db, where)
  if (!row) throw new Error('a query without a table has one row')
  const { epoch, firstEpoch, oldest } = row
  const head = row.head ?? 0
  return { epoch, firstEpoch, head, floor: oldest === null ? head : oldest - 1 }
}

const heads = prepared((db, where: Slots<{ orgIds: string }>) =>
  db
    .selectFrom(eachOf(db, where.orgIds).as('given'))
    .leftJoin('organisations', 'organisations.id', 'given.value')
    .select((eb) => [
      'given.value as orgId',
      eb.fn.coalesce('last_event_position', sql.lit(0)).as('head'),
      currentEpoch(db).as('epoch'),
    ]),
)

/** Where the logs of some organisations end: at 0 for one that does not exist. */
export async function eventLogHeads(
  db: Kysely<Tables>,
  orgIds: readonly string[],
): Promise<(EventLogEnd & { orgId: string })[]> {
  return heads(db, { orgIds: JSON.stringify(orgIds) })
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

/** Some events of a range, in order. */
export interface EventPage {
  readonly events: LoggedEvent[]
  /** Whether the range has no more events than these. */
  readonly isComplete: boolean
}

export interface EventFilter extends Omit<RoomScope, 'orgId'> {
  /** Left out: the rooms of all products. */
  readonly productName?: string | undefined
}

/**
 * The events of an organisation, in order: of all its rooms, or of those that a caller sees and asks for.
 *
 * @param maxBytes of the texts of all messages together; one event always comes
 */
export async function eventsInScope(
  db: Kysely<Tables>,
  {
    orgId,
    after,
    upTo,
    limit,
    maxBytes,
    ...filter
  }: Range & EventFilter & { readonly maxBytes: number },
): Promise<EventPage> {
  const rows = await outlinesInScope(db, { orgId, after, upTo, limit }, filter)
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
    for (const { id, message_data } of await textsById(db, { orgId, ids: JSON.stringify(ids) })) {
      texts.set(id, message_data)
    }
  }
  return {
    events: found.map((row) => split(row, texts)),
    isComplete: rows.length < limit && count === rows.length,
  }
}

function isTextLeftOut(row: Record<string, unknown>): boolean {
  return row.m_id !== null && row.m_message_data === null
}

async function outlinesInScope(
  db: Kysely<Tables>,
  range: Range,
  filter: EventFilter,
): Promise<Record<string, unknown>[]> {
  const { roomIds, userId = null, productName = null } = filter
  if (roomIds !== undefined) {
    const ids = JSON.stringify([...new Set(roomIds)])
    return ofRooms(db, { ...range, ids, userId, productName })
  }
  if (userId !== null) return ofUser(db, { ...range, userId, productName })
  return ofProduct(db, { ...range, productName })
}

const textsById = prepared((db, where: Slots<{ orgId: string; ids: string }>) =>
  db
    // In this order, and by the id: left to itself, SQLite may read through the organisation's messages instead.
    .selectFrom(eachOf(db, where.ids).as('given'))
    .crossJoin('messages')
    .select(['messages.id', 'message_data'])
    .whereRef('messages.id', '=', 'given.value')
    .where((eb) => eb(eb.fn.coalesce('org_id', 'org_id'), '=', where.orgId)),
)

const ofProduct = prepared((db, where: Slots<Range & { productName: string | null }>) =>
  logged(db)
    .where('e.org_id', '=', where.orgId)
    .where('e.position', '>', where.after)
    .where('e.position', '<=', where.upTo)
    .where('r.product_name', '=', (eb) => eb.fn.coalesce(where.productName, 'r.product_name'))
    .orderBy('e.position', 'asc')
    .limit(where.limit),
)

const ofUser = prepared(
  (db, where: Slots<Range & { userId: string; productName: string | null }>) =>
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

const ofRooms = prepared(
  (db, where: Slots<Range & { ids: string; userId: string | null; productName: string | null }>) =>
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
 * The events of a few rooms, each found by itself, however many others lie between. Of no room more than `limit` are
 * looked at: the first `limit` events of all lie no further than those of the room that has `limit` of them first.
 */
function roomByRoom<DB, From extends keyof DB>(
  db: Kysely<Tables>,
  where: Slots<Range>,
  rooms: SelectQueryBuilder<DB, From, { id: string }>,
) {
  const first = db
    .with(
      (cte) => cte('wanted').materialized(),
      () => rooms,
    )
    // In this order, whatever SQLite guesses of how much there is.
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
  return logged(db)
    .where('e.org_id', '=', where.orgId)
    .where('e.position', 'in', first)
    .orderBy('e.position', 'asc')
}

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
  'last_message_seq',
  'last_message_type',
  'last_message_side',
  'last_message_author',
  'last_message_at',
] as const satisfies (keyof RoomRow)[]

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

function split(row: Record<string, unknown>, texts: ReadonlyMap<string, string>): LoggedEvent {
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

/** The logs of all organisations, some at a time in the order of their ids, and when the oldest event of each happened. */
export const eventLogsAfter = prepared(
  (db, where: Slots<{ readonly orgId: string; readonly limit: number }>) =>
    db
      .selectFrom('organisations as o')
      .select((eb) => [
        'o.id as orgId',
        eb
          .selectFrom('events')
          .select('created_at')
          .whereRef('org_id', '=', 'o.id')
          .orderBy('position', 'asc')
          .limit(1)
          .as('oldest'),
      ])
      .where('o.id', '>', where.orgId)
      .orderBy('o.id', 'asc')
      .limit(where.limit),
)

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
