import { sql } from 'kysely'
import type { Session } from '../engine/session.ts'
import type { Transaction } from '../engine/transaction.ts'
import { eachOf } from '../query/builder.ts'
import { notBefore } from '../query/notBefore.ts'
import { type Params, prepared, preparedWrite } from '../query/prepared.ts'
import type { ReadMarkerRow } from '../tables.ts'

interface InRoom {
  readonly orgId: string
  readonly roomId: string
}

/** A user on one side. */
interface Reader {
  readonly userId: string
  readonly side: boolean
}

type WithSideColumn<Where> = Omit<Where, 'side'> & { side: 0 | 1 }

const moveMarkerQuery = preparedWrite(
  (db, to: Params<WithSideColumn<InRoom & Reader> & { seq: number; now: number }>) =>
    db
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
            updated_at: notBefore('read_markers.updated_at', eb.ref('excluded.updated_at')),
          }))
          .whereRef('excluded.seq', '>', 'read_markers.seq'),
      )
      .returningAll(),
)

/**
 * Inserts a reader's marker or moves it forward, never back.
 *
 * @returns the marker; undefined if it was there already or further
 */
export async function moveReadMarker(
  tx: Transaction,
  to: InRoom & Reader & { seq: number; now: number },
): Promise<ReadMarkerRow | undefined> {
  const [moved] = await moveMarkerQuery(tx, { ...to, side: to.side ? 1 : 0 })
  return moved
}

const markerQuery = prepared((db, where: Params<WithSideColumn<InRoom & Reader>>) =>
  db
    .selectFrom('read_markers')
    .selectAll()
    .where('org_id', '=', where.orgId)
    .where('room_id', '=', where.roomId)
    .where('side', '=', where.side)
    .where('user_id', '=', where.userId),
)

export async function findReadMarker(
  session: Session,
  where: InRoom & Reader,
): Promise<ReadMarkerRow | undefined> {
  const [marker] = await markerQuery(session, { ...where, side: where.side ? 1 : 0 })
  return marker
}

/** Lists a room's markers, the last moved first. */
export const newestReadMarkers = prepared(
  (db, where: Params<InRoom & { readonly limit: number }>) =>
    db
      .selectFrom('read_markers')
      .selectAll()
      // Without the casts SQLite plans the statement again for each value.
      .where('org_id', '=', (eb) => eb.cast<string>(where.orgId, 'text'))
      .where('room_id', '=', (eb) => eb.cast<string>(where.roomId, 'text'))
      .orderBy('updated_at', 'desc')
      .limit((eb) => eb.cast<number>(where.limit, 'integer')),
)

interface UnreadParams {
  readonly orgId: string
  readonly otherSide: 0 | 1
  /** JSON: an array of ids. */
  readonly roomIds: string
}

/** Per room: the counts at its end and at the reader's marker, and the deleted messages of the other side between them. */
const unreadQuery = prepared((db, where: Params<WithSideColumn<Reader> & UnreadParams>) =>
  db
    // One text for any number of rooms. The cross join keeps SQLite from scanning all rooms.
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
 * Counts the other side's messages after a reader's marker, without deleted ones; all of them if there is no marker. Counts
 * rows only for deleted messages; the rest comes from running counts.
 *
 * @returns the counts by room id
 */
export async function unreadCounts(
  session: Session,
  where: { readonly orgId: string; readonly roomIds: readonly string[] } & Reader,
): Promise<Map<string, number>> {
  const rows = await unreadQuery(session, {
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
