import type { ExpressionBuilder } from 'kysely'
import type { Session } from '../engine/session.ts'
import { dialectOf } from '../query/builder.ts'
import { keysetOrder, type PageBoundary } from '../query/keyset.ts'
import { select } from '../query/prepared.ts'
import type { RoomScope } from '../query/scope.ts'
import type { RoomRow, Tables } from '../tables.ts'

type Status = RoomRow['status']

/** The conditions of a list. An undefined one matches every room. */
export interface RoomFilter {
  readonly productName?: string | undefined
  /** One, or any of several. */
  readonly status?: Status | readonly Status[] | undefined
  /** Null: the rooms that nobody is assigned to. */
  readonly assignee?: string | null | undefined
  readonly label?: string | undefined
  readonly isActive?: boolean | undefined
}

export type RoomListing = RoomScope & RoomFilter & { readonly orgId: string }

/** Lists the last rooms at or before a boundary, or the first ones after it. Ascending by position either way. */
export async function listRoomsPage(
  session: Session,
  where: RoomListing & PageBoundary,
): Promise<RoomRow[]> {
  const { orgId, roomIds, userId, label, boundary } = where
  if (roomIds !== undefined) return listRoomsByIds(session, where, roomIds)
  const { comparison, order, reversed } = keysetOrder(where)
  const rows = await select(session, (db) => {
    // A user has fewer rooms than a label.
    if (label !== undefined && userId === undefined) {
      return db
        .selectFrom('room_labels')
        .innerJoin('rooms', 'rooms.id', 'room_labels.room_id')
        .selectAll('rooms')
        .where('room_labels.org_id', '=', orgId)
        .where('room_labels.label', '=', label)
        .where('room_labels.position', comparison, boundary)
        .where((eb) => matches(eb, { ...where, label: undefined }))
        .orderBy('room_labels.position', order)
        .limit(where.limit)
    }
    const [first, ...others] = rangesOf(where).map((range, _, { length }) => {
      const rooms = db
        .selectFrom('rooms')
        .selectAll()
        .where('org_id', '=', orgId)
        .where('position', comparison, boundary)
        .where((eb) => matches(eb, range, leadingColumns(range)))
      if (length === 1 || dialectOf(db) === 'sqlite') return rooms
      // PostgreSQL reads a part of a union in order only if the part itself asks for it; SQLite would then sort it once more.
      const page = rooms.orderBy('position', order).limit(where.limit)
      return db.selectFrom(page.as('rooms')).selectAll()
    })
    if (!first) throw new Error('a list of no status')
    return others
      .reduce((all, range) => all.unionAll(range), first)
      .orderBy('position', order)
      .limit(where.limit)
  })
  return reversed ? rows.reverse() : rows
}

const allStatuses: readonly Status[] = ['open', 'pending', 'resolved']

/**
 * The ranges of an index that make up a list. An index that begins with the status has the rooms of each status in order:
 * both databases merge such ranges, but would sort what one condition for several statuses finds.
 */
function rangesOf(where: Conditions): Conditions[] {
  const statuses = [...new Set(where.status === undefined ? allStatuses : [where.status].flat())]
  if (statuses.length === 1) return [{ ...where, status: statuses[0] }]
  // All of them are no condition, but the index of unassigned rooms has them apart.
  if (statuses.length === allStatuses.length && where.assignee !== null) {
    return [{ ...where, status: undefined }]
  }
  if (!leadingColumns({ ...where, status: statuses }).includes('status')) return [where]
  return statuses.map((status) => ({ ...where, status }))
}

/** Looks each room up by its id. In one statement SQLite would scan the organisation's rooms to keep the order. */
async function listRoomsByIds(
  session: Session,
  where: RoomListing & PageBoundary,
  roomIds: readonly string[],
): Promise<RoomRow[]> {
  const { orgId, direction, boundary, limit } = where
  const found = await Promise.all(
    [...new Set(roomIds)].map((roomId) =>
      select(session, (db) =>
        db
          .selectFrom('rooms')
          .selectAll()
          .where('id', '=', roomId)
          .where('org_id', '=', orgId)
          .where((eb) => matches(eb, where)),
      ),
    ),
  )
  const rows = found
    .flat()
    .filter(({ position }) => (direction === 'before' ? position <= boundary : position > boundary))
    .sort((a, b) => a.position - b.position)
  return direction === 'before'
    ? rows.slice(Math.max(0, rows.length - limit))
    : rows.slice(0, limit)
}

type Conditions = Pick<RoomListing, 'userId' | keyof RoomFilter>
type FilterColumn = 'user_id' | 'assignee' | 'product_name' | 'status' | 'is_active'

/** The columns of the index that a list uses, the most selective first. */
function leadingColumns({ userId, assignee, productName, status }: Conditions): FilterColumn[] {
  if (userId !== undefined) return ['user_id']
  if (assignee !== undefined) return ['assignee', 'status']
  if (productName !== undefined) return ['product_name', 'status']
  return status === undefined ? ['is_active'] : ['status']
}

/**
 * The conditions of a list. Only the leading columns are compared in a form that an index can use: otherwise SQLite may
 * choose an index that is less selective.
 */
function matches(
  eb: ExpressionBuilder<Tables, 'rooms'>,
  { userId, productName, status, assignee, label, isActive }: Conditions,
  leading: readonly FilterColumn[] = [],
) {
  const wanted = {
    user_id: userId,
    assignee,
    product_name: productName,
    status,
    is_active: isActive === undefined ? undefined : Number(isActive),
  } satisfies Record<FilterColumn, unknown>
  const conditions = (Object.keys(wanted) as FilterColumn[])
    .filter((column) => wanted[column] !== undefined)
    .map((column) => {
      const plain = eb.ref(`rooms.${column}`)
      const compared = leading.includes(column) ? plain : eb.fn.coalesce(plain, plain)
      const value = wanted[column]
      if (value === null) return eb(compared, 'is', null)
      return eb(compared, Array.isArray(value) ? 'in' : '=', value as never)
    })
  if (label === undefined) return eb.and(conditions)
  const labelled = eb
    .selectFrom('room_labels')
    .select('room_id')
    .whereRef('room_labels.room_id', '=', 'rooms.id')
    .where('label', '=', label)
  return eb.and([...conditions, eb.exists(labelled)])
}
