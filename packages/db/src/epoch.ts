import { type Kysely, type RawBuilder, sql } from 'kysely'
import { dialectOf } from './dialectOf.ts'
import type { Tables } from './tables.ts'
import type { Tx } from './transaction.ts'

/**
 * PostgreSQL's timeline, which a promotion changes. Read from the write-ahead log itself: pg_control_checkpoint() says the
 * old one until the next checkpoint. Any role may ask; a standby refuses.
 */
const timeline = sql<string>`substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)`

/**
 * The epoch of the event logs, for the statement that reads them. Positions of one epoch are of one history; in another
 * epoch the same positions may be other events, because the database was restored or a failover lost commits.
 */
export function currentEpoch(db: Kysely<Tables>): RawBuilder<string> {
  if (dialectOf(db) === 'sqlite') return sql`(select epoch from event_log where id = 1)`
  return sql`(
    select case when timeline = current_timeline then epoch
      else epoch || '.' || ltrim(current_timeline, '0') end
    from (select epoch, timeline, ${timeline} as current_timeline from event_log where id = 1) as log
  )`
}

/** The first epoch of the event logs: that of the cursors which name none. */
export const firstEpoch = sql<string>`(select first_epoch from event_log where id = 1)`

export interface LogEpochs {
  readonly epoch: string
  readonly firstEpoch: string
}

export async function findEpochs(db: Kysely<Tables>): Promise<LogEpochs> {
  return db
    .selectNoFrom([currentEpoch(db).as('epoch'), firstEpoch.as('firstEpoch')])
    .executeTakeFirstOrThrow()
}

/** From now on the logs are of this epoch, whatever timeline the database is on. */
export async function setEpochs(tx: Tx, { epoch, firstEpoch }: LogEpochs): Promise<void> {
  await tx
    .updateTable('event_log')
    .set({
      epoch,
      first_epoch: firstEpoch,
      timeline: dialectOf(tx) === 'postgres' ? timeline : null,
    })
    .execute()
}
