import { sql } from 'kysely'
import type { Session } from '../engine/session.ts'
import type { Transaction } from '../engine/transaction.ts'
import { dialectOf } from '../query/builder.ts'
import { mutate, type Params, prepared, preparedWrite, select } from '../query/prepared.ts'
import type { EventRow } from '../tables.ts'

/** Pages through the logs of all organisations by id, with the time of the oldest event of each. */
export const eventLogsAfter = prepared(
  (db, where: Params<{ readonly orgId: string; readonly limit: number }>) =>
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

/** Lists the oldest events of an organisation. */
export async function oldestEvents(
  session: Session,
  { orgId, limit }: { orgId: string; limit: number },
): Promise<Pick<EventRow, 'position' | 'created_at'>[]> {
  return select(session, (db) =>
    db
      .selectFrom('events')
      .select(['position', 'created_at'])
      .where('org_id', '=', orgId)
      .orderBy('position', 'asc')
      .limit(limit),
  )
}

/** Deletes an organisation's events up to and including a position. */
export async function deleteEvents(
  tx: Transaction,
  { orgId, upTo }: { orgId: string; upTo: number },
): Promise<void> {
  await mutate(tx, (db) =>
    db.deleteFrom('events').where('org_id', '=', orgId).where('position', '<=', upTo),
  )
}

export interface RetentionClock {
  /** The time that the retention goes by; null before its first run. */
  readonly time: number | null
  /** The clock at its last run; null before the first. */
  readonly seenAt: number | null
}

const retentionClockQuery = preparedWrite((db) =>
  db
    .selectFrom('event_log')
    .select(['retention_time as time', 'retention_seen_at as seenAt'])
    .where('id', '=', sql.lit(1))
    .$if(dialectOf(db) === 'postgres', (query) => query.forUpdate()),
)

/** Reads the clock of the retention and locks it until the commit. */
export async function findRetentionClock(tx: Transaction): Promise<RetentionClock> {
  const [clock] = await retentionClockQuery(tx, {})
  if (!clock) throw new Error('the event log has no row')
  return clock
}

export async function saveRetentionClock(
  tx: Transaction,
  { time, seenAt }: { time: number; seenAt: number },
): Promise<void> {
  await mutate(tx, (db) =>
    db
      .updateTable('event_log')
      .set({ retention_time: time, retention_seen_at: seenAt })
      .where('id', '=', 1),
  )
}
