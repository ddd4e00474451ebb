import { type Expression, type ExpressionBuilder, type Insertable, sql } from 'kysely'
import type { DialectName, Session } from '../engine/session.ts'
import type { Transaction } from '../engine/transaction.ts'
import { epochColumns, type LogEpochs } from '../eventLog/epoch.ts'
import { dialectOf } from '../query/builder.ts'
import { announceRoomLock } from '../query/locks.ts'
import { notBefore } from '../query/notBefore.ts'
import {
  mutate,
  type Params,
  prepared,
  preparedInScope,
  preparedWrite,
  preparedWriteInScope,
  rowParams,
  select,
} from '../query/prepared.ts'
import {
  type OneRoom,
  type RoomScopeParams,
  scopeParams,
  whereRoomInScope,
} from '../query/scope.ts'
import type { RoomLabelsTable, RoomRow, RoomsTable, Tables } from '../tables.ts'

/** Two requests with the same values mean the same active room. */
export interface RoomIdentity {
  readonly orgId: string
  readonly userId: string
  readonly portfolioName: string
  readonly productName: string
}

/**
 * Compares the product as the index of active rooms has it: on PostgreSQL hashed, since four names do not fit into its rows.
 * No other index has the hash, so the planner takes none that finds more rooms.
 */
function hasProduct(
  eb: ExpressionBuilder<Tables, 'rooms'>,
  dialect: DialectName,
  product: Expression<string>,
) {
  if (dialect === 'sqlite') return eb('product_name', '=', product)
  const hash = (name: Expression<string>) =>
    sql`sha256(cast(replace(${name}, '\\', '\\\\') as bytea))`
  return sql<boolean>`${hash(eb.ref('product_name'))} = ${hash(product)}`
}

const activeRoomQuery = prepared((db, identity: Params<RoomIdentity>) =>
  db
    .selectFrom('rooms')
    .selectAll()
    .where('org_id', '=', identity.orgId)
    .where('user_id', '=', identity.userId)
    .where('portfolio_name', '=', identity.portfolioName)
    .where((eb) => hasProduct(eb, dialectOf(db), identity.productName))
    // A literal, so that the text alone selects the index of active rooms. With a parameter SQLite plans the statement again
    // for each value, which takes three times as long as the lookup.
    .where('is_active', '=', sql.lit(1)),
)

export async function findActiveRoom(
  session: Session,
  identity: RoomIdentity,
): Promise<RoomRow | undefined> {
  const [room] = await activeRoomQuery(session, identity)
  return room
}

/** Maximum active rooms of a user, and new rooms per minute and hour. Each is at least 1. */
export interface RoomBounds {
  readonly active: number
  readonly perMinute: number
  readonly perHour: number
}

interface OneUser {
  readonly orgId: string
  readonly userId: string
}

/** Whether a user has, or had, a room. */
export async function userHasRoom(session: Session, { orgId, userId }: OneUser): Promise<boolean> {
  const [room] = await select(session, (db) =>
    db
      .selectFrom('rooms')
      .select('id')
      .where('org_id', '=', orgId)
      .where('user_id', '=', userId)
      .limit(1),
  )
  return room !== undefined
}

const roomsAtBoundsQuery = prepared((db, where: Params<OneUser & RoomBounds>) => {
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

/** The rooms with which a user reaches the bounds; null below a bound. */
export interface RoomsAtBounds {
  /** Not null if there are as many active rooms as the bound. */
  readonly active: number | null
  /** When the oldest room was opened of the newest ones that the bound allows. Deleted rooms count. */
  readonly ofMinute: number | null
  readonly ofHour: number | null
}

/** Reads no more rows than the bounds, however many rooms the user has. */
export async function findRoomsAtBounds(
  session: Session,
  { orgId, userId, ...bounds }: OneUser & RoomBounds,
): Promise<RoomsAtBounds> {
  const [found] = await roomsAtBoundsQuery(session, {
    orgId,
    userId,
    active: bounds.active - 1,
    perMinute: bounds.perMinute - 1,
    perHour: bounds.perHour - 1,
  })
  return found as RoomsAtBounds
}

export async function insertRoom(tx: Transaction, row: Insertable<RoomsTable>): Promise<RoomRow> {
  const [room] = await mutate(tx, (db) => db.insertInto('rooms').values(row).returningAll())
  return room as RoomRow
}

const roomQuery = preparedInScope((db, where: Params<RoomScopeParams>, orgId) =>
  db
    .selectFrom('rooms')
    .selectAll()
    .where((eb) => whereRoomInScope(eb, where, orgId)),
)

export async function findRoom(session: Session, where: OneRoom): Promise<RoomRow | undefined> {
  const [room] = await roomQuery(session, scopeParams(where))
  return room
}

const roomWithEpochsQuery = preparedInScope((db, where: Params<RoomScopeParams>, orgId) =>
  db
    .selectFrom('rooms')
    .selectAll()
    .select(epochColumns(db))
    .where((eb) => whereRoomInScope(eb, where, orgId)),
)

/** The same in one statement with the epochs of the logs, which a page with a cursor needs. */
export async function findRoomWithEpochs(
  session: Session,
  where: OneRoom,
): Promise<(RoomRow & LogEpochs) | undefined> {
  const [room] = await roomWithEpochsQuery(session, scopeParams(where))
  return room
}

/** SQLite has one writer and needs no lock. */
const lockRoomQuery = (lock: 'forNoKeyUpdate' | 'forKeyShare') =>
  preparedWriteInScope((db, where: Params<RoomScopeParams>, orgId) => {
    const query = db
      .selectFrom('rooms')
      .selectAll()
      .where((eb) => whereRoomInScope(eb, where, orgId))
    return dialectOf(db) === 'postgres' ? query[lock]() : query
  })

// Inserts that refer to the room, as events do, do not wait for this lock.
const roomForUpdateQuery = lockRoomQuery('forNoKeyUpdate')
const roomForKeyShareQuery = lockRoomQuery('forKeyShare')

/** The same for a write that depends on the result: until its commit no other changes the room or a message in it. */
export async function findRoomForUpdate(
  tx: Transaction,
  where: OneRoom,
): Promise<RoomRow | undefined> {
  announceRoomLock(tx, where)
  const [room] = await roomForUpdateQuery(tx, scopeParams(where))
  return room
}

/**
 * The same for a write that appends events of the room without changing it. PostgreSQL locks the rows that a new row refers
 * to, and a room must be locked before its organisation.
 */
export async function findRoomForKeyShare(
  tx: Transaction,
  where: OneRoom,
): Promise<RoomRow | undefined> {
  announceRoomLock(tx, where)
  const [room] = await roomForKeyShareQuery(tx, scopeParams(where))
  return room
}

const setRoomActiveQuery = preparedWriteInScope(
  (db, where: Params<RoomScopeParams & { wanted: 0 | 1; now: number }>, orgId) =>
    db
      .updateTable('rooms')
      .set((eb) => ({
        version: eb('version', '+', 1),
        details_version: eb('details_version', '+', 1),
        is_active: where.wanted,
        updated_at: notBefore('updated_at', where.now),
      }))
      .where((eb) => whereRoomInScope(eb, where, orgId))
      .where('is_active', '!=', where.wanted)
      .returningAll(),
)

/** Deletes or restores a room. Repeating it changes nothing, not even `updated_at`. */
export async function setRoomActive(
  tx: Transaction,
  where: OneRoom & { isActive: boolean; now: number },
): Promise<RoomRow | undefined> {
  const wanted = where.isActive ? 1 : 0
  announceRoomLock(tx, where)
  const [changed] = await setRoomActiveQuery(tx, { ...where, ...scopeParams(where), wanted })
  return changed ?? findRoom(tx, where)
}

/** The columns of a room that its organisation sets. */
export type RoomDetails = Pick<RoomRow, 'subject' | 'status' | 'assignee' | 'labels' | 'custom'>

interface OneOrgRoom {
  readonly orgId: string
  readonly roomId: string
}

const updateRoomDetailsQuery = preparedWrite(
  (db, where: Params<OneOrgRoom & RoomDetails & { now: number }>) =>
    db
      .updateTable('rooms')
      .set((eb) => ({
        version: eb('version', '+', 1),
        details_version: eb('details_version', '+', 1),
        subject: where.subject,
        status: where.status,
        assignee: where.assignee,
        labels: where.labels,
        custom: where.custom,
        updated_at: notBefore('updated_at', where.now),
      }))
      .where('id', '=', where.roomId)
      .where('org_id', '=', where.orgId)
      .returningAll(),
)

const deleteLabelsQuery = preparedWrite((db, where: Params<OneOrgRoom>) =>
  db
    .deleteFrom('room_labels')
    .where('room_id', '=', where.roomId)
    .where('org_id', '=', where.orgId),
)

const insertLabelQuery = preparedWrite((db, row: Params<RoomLabelsTable>) =>
  db.insertInto('room_labels').values(rowParams('room_labels', row)),
)

/** Replaces a room's details and its rows of labels. @returns the new row */
export async function updateRoomDetails(
  tx: Transaction,
  where: OneOrgRoom & RoomDetails & { now: number },
): Promise<RoomRow> {
  const [room] = await updateRoomDetailsQuery(tx, where)
  if (!room) throw new Error('a change of a room that does not exist')
  const { org_id, position, id: room_id } = room
  await deleteLabelsQuery(tx, where)
  for (const label of JSON.parse(where.labels) as string[]) {
    await insertLabelQuery(tx, { org_id, label, position, room_id })
  }
  return room
}
