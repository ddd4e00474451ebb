import { type Kysely, sql } from 'kysely'
import { eachOf } from '../dialectOf.ts'
import { prepared, type Slots } from '../prepared.ts'
import type { ReadMarkerRow, Tables } from '../tables.ts'
import type { Tx } from '../transaction.ts'

interface InRoom {
  readonly orgId: string
  readonly roomId: string
}

/** Whoever reads: one user on one side. */
interface Reader {
  readonly userId: string
  readonly side: boolean
}

type Reading<Where> = Omit<Where, 'side'> & { side: 0 | 1 }

const moving = prepared((tx, to: Slots<Reading<InRoom & Reader> & { seq: number; now: number }>) =>
  tx
    .insertInto('read_markers')
    .values({
      org_id: to.orgId,
      room_id: to.roomId,
      side: to.side,
      user_id: to.userId,
      seq: to.seq,
      updated_at: to.now,
    })
    .onConflict((conflict) =>
      conflict
        .columns(['org_id', 'room_id', 'side', 'user_id'])
        .doUpdateSet((eb) => ({
          seq: eb.ref('excluded.seq'),
          updated_at: eb.ref('excluded.updated_at'),
        }))
        .whereRef('excluded.seq', '>', 'read_markers.seq'),
    )
    .returningAll(),
)

/**
 * Moves a reader's marker forward, or makes the first one; never back, whoever else moves it at the same time.
 *
 * @returns the marker, or undefined when it was there already or further
 */
export async function moveReadMarker(
  tx: Tx,
  to: InRoom & Reader & { seq: number; now: number },
): Promise<ReadMarkerRow | undefined> {
  const [moved] = await moving(tx, { ...to, side: to.side ? 1 : 0 })
  return moved
}

const ofReader = prepared((db, where: Slots<Reading<InRoom & Reader>>) =>
  db
    .selectFrom('read_markers')
    .selectAll()
    .where('org_id', '=', where.orgId)
    .where('room_id', '=', where.roomId)
    .where('side', '=', where.side)
    .where('user_id', '=', where.userId),
)

export async function findReadMarker(
  db: Kysely<Tables>,
  where: InRoom & Reader,
): Promise<ReadMarkerRow | undefined> {
  const [marker] = await ofReader(db, { ...where, side: where.side ? 1 : 0 })
  return marker
}

/** A room's markers, those that moved last first. */
export const newestReadMarkers = prepared((db, where: Slots<InRoom & { readonly limit: number }>) =>
  db
    .selectFrom('read_markers')
    .selectAll()
    // The casts here and below change no value, but keep SQLite from planning the statement anew for each one.
    .where('org_id', '=', (eb) => eb.cast<string>(where.orgId, 'text'))
    .where('room_id', '=', (eb) => eb.cast<string>(where.roomId, 'text'))
    .orderBy('updated_at', 'desc')
    .limit((eb) => eb.cast<number>(where.limit, 'integer')),
)

interface Counting {
  readonly orgId: string
  readonly otherSide: 0 | 1
  /** JSON: an array of ids. */
  readonly roomIds: string
}

/** Of each room the counts, at its end and at the reader's marker, and what between them is deleted of the other side's. */
const counting = prepared((db, where: Slots<Reading<Reader> & Counting>) =>
  db
    // One text however many rooms there are. The cross join keeps SQLite from walking all rooms to meet those listed.
    .selectFrom(eachOf(db, where.roomIds).as('listed'))
    .crossJoin('rooms')
    .leftJoin('read_markers as marker', (join) =>
      join
        .onRef('marker.org_id', '=', 'rooms.org_id')
        .onRef('marker.room_id', '=', 'rooms.id')
        .on('marker.side', '=', (eb) => eb.cast<0 | 1>(where.side, 'integer'))
        .on('marker.user_id', '=', (eb) => eb.cast<string>(where.userId, 'text')),
    )
    .leftJoin('messages as last_read', (join) =>
      join
        .onRef('last_read.org_id', '=', 'rooms.org_id')
        .onRef('last_read.room_id', '=', 'rooms.id')
        .onRef('last_read.seq', '=', 'marker.seq'),
    )
    .select((eb) => [
      'rooms.id',
      'rooms.last_seq as count',
      'rooms.support_count as supportCount',
      eb.fn.coalesce('marker.seq', sql.lit(0)).as('readCount'),
      eb.fn.coalesce('last_read.support_count', sql.lit(0)).as('readSupportCount'),
      eb
        .selectFrom('messages as deleted')
        .select((eb) => eb.fn.countAll<number>().as('count'))
        .whereRef('deleted.org_id', '=', 'rooms.org_id')
        .whereRef('deleted.room_id', '=', 'rooms.id')
        .where('deleted.side', '=', (eb) => eb.cast<0 | 1>(where.otherSide, 'integer'))
        .where('deleted.is_active', '=', sql.lit(0))
        .where('deleted.seq', '>', (eb) => eb.fn.coalesce('marker.seq', sql.lit(0)))
        .as('deletedCount'),
    ])
    .whereRef('rooms.id', '=', 'listed.value')
    .where('rooms.org_id', '=', (eb) => eb.cast<string>(where.orgId, 'text')),
)

/**
 * How many messages of the other side lie after a reader's marker, deleted ones left out, in each of these rooms; all of
 * them where there is no marker. Nothing is counted but those that are deleted: the rest is known from running counts.
 *
 * @returns the counts by the rooms' ids
 */
export async function unreadCounts(
  db: Kysely<Tables>,
  where: { readonly orgId: string; readonly roomIds: readonly string[] } & Reader,
): Promise<Map<string, number>> {
  const rows = await counting(db, {
    ...where,
    side: where.side ? 1 : 0,
    otherSide: where.side ? 0 : 1,
    roomIds: JSON.stringify(where.roomIds),
  })
  return new Map(
    rows.map((room) => {
      const all = room.count - room.readCount
      const bySupport = room.supportCount - room.readSupportCount
      return [room.id, (where.side ? all - bySupport : bySupport) - (room.deletedCount ?? 0)]
    }),
  )
}
