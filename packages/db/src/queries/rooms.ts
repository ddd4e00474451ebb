import { type ExpressionBuilder, type Insertable, type Kysely, sql } from 'kysely'
import { dialectOf } from '../dialectOf.ts'
import { type NextTo, nearest } from '../nextTo.ts'
import { prepared, preparedInScope, type Slots } from '../prepared.ts'
import { type InScope, inScope, type OneRoom, parametersOf, type RoomScope } from '../roomScope.ts'
import type { RoomLabelsTable, RoomRow, RoomsTable, Tables } from '../tables.ts'
import { announceRoomLock, type Tx } from '../transaction.ts'

/** What makes two requests for a room mean the same room. */
export interface RoomIdentity {
  readonly orgId: string
  readonly userId: string
  readonly portfolioName: string
  readonly productName: string
}

const activeRoom = prepared((db, identity: Slots<RoomIdentity>) =>
  db
    .selectFrom('rooms')
    .selectAll()
    .where('org_id', '=', identity.orgId)
    .where('user_id', '=', identity.userId)
    .where('portfolio_name', '=', identity.portfolioName)
    .where('product_name', '=', identity.productName)
    // Outright, not as a parameter: only then does the statement's own text show that the index of active rooms will do.
    // With a parameter SQLite plans the statement anew for each value, which costs three times the lookup.
    .where('is_active', '=', sql.lit(1)),
)

export async function findActiveRoom(
  db: Kysely<Tables>,
  identity: RoomIdentity,
): Promise<RoomRow | undefined> {
  const [room] = await activeRoom(db, identity)
  return room
}

/** How many rooms one user may have, and open within a time; each is at least 1. */
export interface RoomBounds {
  readonly active: number
  readonly perMinute: number
  readonly perHour: number
}

interface OneUser {
  readonly orgId: string
  readonly userId: string
}

const roomsAtBounds = prepared((db, where: Slots<OneUser & RoomBounds>) => {
  const ofUser = db
    .selectFrom('rooms')
    .where('org_id', '=', where.orgId)
    .where('user_id', '=', where.userId)
    .limit(sql.lit(1))
  const newest = ofUser.select('created_at').orderBy('position', 'desc')
  return db.selectNoFrom([
    ofUser
      .select(sql.lit(1).as('one'))
      .where('is_active', '=', sql.lit(1))
      .orderBy('portfolio_name')
      .offset(where.active)
      .as('active'),
    newest.offset(where.perMinute).as('ofMinute'),
    newest.offset(where.perHour).as('ofHour'),
  ])
})

/** The rooms of a user with which bounds are reached; null while there are fewer. */
export interface RoomsAtBounds {
  /** Not null: there are as many active rooms as the bound. */
  readonly active: number | null
  /** When the room was opened that is, from the newest, the last which a minute has room for; deleted ones count. */
  readonly ofMinute: number | null
  readonly ofHour: number | null
}

/** Reads no more rows than the bounds allow, however many rooms the user has. */
export async function findRoomsAtBounds(
  db: Kysely<Tables>,
  { orgId, userId, ...bounds }: OneUser & RoomBounds,
): Promise<RoomsAtBounds> {
  const [found] = await roomsAtBounds(db, {
    orgId,
    userId,
    active: bounds.active - 1,
    perMinute: bounds.perMinute - 1,
    perHour: bounds.perHour - 1,
  })
  return found as RoomsAtBounds
}

export async function insertRoom(tx: Tx, row: Insertable<RoomsTable>): Promise<RoomRow> {
  return tx.insertInto('rooms').values(row).returningAll().executeTakeFirstOrThrow()
}

const roomById = preparedInScope((db, where: Slots<InScope>, orgId) =>
  db
    .selectFrom('rooms')
    .selectAll()
    .where((eb) => inScope(eb, where, orgId)),
)

export async function findRoom(db: Kysely<Tables>, where: OneRoom): Promise<RoomRow | undefined> {
  const [room] = await roomById(db, parametersOf(where))
  return room
}

/** SQLite has one writer, and needs no lock. */
const lockedRoom = (lock: 'forNoKeyUpdate' | 'forKeyShare') =>
  preparedInScope((tx, where: Slots<InScope>, orgId) => {
    const query = tx
      .selectFrom('rooms')
      .selectAll()
      .where((eb) => inScope(eb, where, orgId))
    return dialectOf(tx) === 'postgres' ? query[lock]() : query
  })

// What refers to the room, as an event does, need not wait.
const roomToChange = lockedRoom('forNoKeyUpdate')
const roomToTell = lockedRoom('forKeyShare')

/**
 * The same, for a write that decides by what it finds: until it is committed nobody else changes the room, nor a message
 * in it.
 */
export async function findRoomToChange(tx: Tx, where: OneRoom): Promise<RoomRow | undefined> {
  announceRoomLock(tx, where)
  const [room] = await roomToChange(tx, parametersOf(where))
  return room
}

/**
 * The same, for a write that appends events of the room and does not change it: PostgreSQL locks what a new row refers to,
 * and a room is to be locked before its organisation.
 */
export async function findRoomToTell(tx: Tx, where: OneRoom): Promise<RoomRow | undefined> {
  announceRoomLock(tx, where)
  const [room] = await roomToTell(tx, parametersOf(where))
  return room
}

const setting = preparedInScope(
  (tx, where: Slots<InScope & { wanted: 0 | 1; now: number }>, orgId) =>
    tx
      .updateTable('rooms')
      .set((eb) => ({
        version: eb('version', '+', 1),
        is_active: where.wanted,
        updated_at: where.now,
      }))
      .where((eb) => inScope(eb, where, orgId))
      .where('is_active', '!=', where.wanted)
      .returningAll(),
)

/** Deletes or restores a room. Setting what is set already changes nothing, not even `updated_at`. */
export async function setRoomActive(
  tx: Tx,
  where: OneRoom & { isActive: boolean; now: number },
): Promise<RoomRow | undefined> {
  const wanted = where.isActive ? 1 : 0
  announceRoomLock(tx, where)
  const [changed] = await setting(tx, { ...where, ...parametersOf(where), wanted })
  return changed ?? findRoom(tx, where)
}

/** What may be said of a room besides its messages. */
export type RoomDetails = Pick<RoomRow, 'subject' | 'status' | 'assignee' | 'labels' | 'custom'>

interface OneOrgRoom {
  readonly orgId: string
  readonly roomId: string
}

const describing = prepared((tx, where: Slots<OneOrgRoom & RoomDetails & { now: number }>) =>
  tx
    .updateTable('rooms')
    .set((eb) => ({
      version: eb('version', '+', 1),
      subject: where.subject,
      status: where.status,
      assignee: where.assignee,
      labels: where.labels,
      custom: where.custom,
      updated_at: where.now,
    }))
    .where('id', '=', where.roomId)
    .where('org_id', '=', where.orgId)
    .returningAll(),
)

const unlabelling = prepared((tx, where: Slots<OneOrgRoom>) =>
  tx
    .deleteFrom('room_labels')
    .where('room_id', '=', where.roomId)
    .where('org_id', '=', where.orgId),
)

const labelling = prepared((tx, row: Slots<RoomLabelsTable>) =>
  tx.insertInto('room_labels').values({
    org_id: row.org_id,
    label: row.label,
    position: row.position,
    room_id: row.room_id,
  }),
)

/** Replaces what is said of a room, and its labels wherever they are kept. @returns the room as it is now */
export async function describeRoom(
  tx: Tx,
  where: OneOrgRoom & RoomDetails & { now: number },
): Promise<RoomRow> {
  const [room] = await describing(tx, where)
  if (!room) throw new Error('a change of a room that does not exist')
  const { org_id, position, id: room_id } = room
  await unlabelling(tx, where)
  for (const label of JSON.parse(where.labels) as string[]) {
    await labelling(tx, { org_id, label, position, room_id })
  }
  return room
}

/** Chooses among the rooms of a list; what is left out chooses nothing. */
export interface RoomFilter {
  readonly productName?: string | undefined
  readonly status?: RoomRow['status'] | undefined
  readonly assignee?: string | undefined
  readonly label?: string | undefined
  readonly isActive?: boolean | undefined
}

export type RoomListing = RoomScope & RoomFilter & { readonly orgId: string }

/**
 * Up to `limit` rooms next to a boundary between two positions: the last ones at or before it, or the first ones
 * after it. Ascending by position either way.
 */
export async function roomsNextTo(
  db: Kysely<Tables>,
  where: RoomListing & NextTo,
): Promise<RoomRow[]> {
  const { orgId, roomIds, userId, label, boundary } = where
  if (roomIds !== undefined) return someRoomsNextTo(db, where, roomIds)
  const { comparison, order, reversed } = nearest(where)
  // A user has fewer rooms than a label.
  const query =
    label !== undefined && userId === undefined
      ? db
          .selectFrom('room_labels')
          .innerJoin('rooms', 'rooms.id', 'room_labels.room_id')
          .selectAll('rooms')
          .where('room_labels.org_id', '=', orgId)
          .where('room_labels.label', '=', label)
          .where('room_labels.position', comparison, boundary)
          .where((eb) => isChosen(eb, { ...where, label: undefined }))
          .orderBy('room_labels.position', order)
      : db
          .selectFrom('rooms')
          .selectAll()
          .where('org_id', '=', orgId)
          .where('position', comparison, boundary)
          .where((eb) => isChosen(eb, where, leadingColumns(where)))
          .orderBy('position', order)
  const rows = await query.limit(where.limit).execute()
  return reversed ? rows.reverse() : rows
}

/**
 * The same of a few rooms, each found by its id. Asked for all at once, SQLite would walk the organisation's rooms from
 * end to end to meet them in order.
 */
async function someRoomsNextTo(
  db: Kysely<Tables>,
  where: RoomListing & NextTo,
  roomIds: readonly string[],
): Promise<RoomRow[]> {
  const { orgId, direction, boundary, limit } = where
  const found = await Promise.all(
    [...new Set(roomIds)].map((roomId) =>
      db
        .selectFrom('rooms')
        .selectAll()
        .where('id', '=', roomId)
        .where('org_id', '=', orgId)
        .where((eb) => isChosen(eb, where))
        .executeTakeFirst(),
    ),
  )
  const rows = found
    .filter((room) => room !== undefined)
    .filter(({ position }) => (direction === 'before' ? position <= boundary : position > boundary))
    .sort((a, b) => a.position - b.position)
  return direction === 'before'
    ? rows.slice(Math.max(0, rows.length - limit))
    : rows.slice(0, limit)
}

type ChosenBy = Pick<RoomListing, 'userId' | keyof RoomFilter>
type FilterColumn = 'user_id' | 'assignee' | 'product_name' | 'status' | 'is_active'

/** The columns by whose index a list is found, those that say most first. */
function leadingColumns({ userId, assignee, productName, status }: ChosenBy): FilterColumn[] {
  if (userId !== undefined) return ['user_id']
  if (assignee !== undefined) return ['assignee', 'status']
  if (productName !== undefined) return ['product_name', 'status']
  return status === undefined ? ['is_active'] : ['status']
}

/**
 * Whether a room is one that a list chooses. Only the leading columns are compared as an index can be searched: left to
 * itself, SQLite takes any index that fits, which may be the one that most rooms are the same in.
 */
function isChosen(
  eb: ExpressionBuilder<Tables, 'rooms'>,
  { userId, productName, status, assignee, label, isActive }: ChosenBy,
  leading: readonly FilterColumn[] = [],
) {
  const wanted = {
    user_id: userId,
    assignee,
    product_name: productName,
    status,
    is_active: isActive === undefined ? undefined : Number(isActive),
  } satisfies Record<FilterColumn, unknown>
  const chosen = (Object.keys(wanted) as FilterColumn[])
    .filter((column) => wanted[column] !== undefined)
    .map((column) => {
      const plain = eb.ref(`rooms.${column}`)
      const value = wanted[column] as never
      return eb(leading.includes(column) ? plain : eb.fn.coalesce(plain, plain), '=', value)
    })
  if (label === undefined) return eb.and(chosen)
  const labelled = eb
    .selectFrom('room_labels')
    .select('room_id')
    .whereRef('room_labels.room_id', '=', 'rooms.id')
    .where('label', '=', label)
  return eb.and([...chosen, eb.exists(labelled)])
}
