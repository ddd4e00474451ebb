import { randomBytes } from 'node:crypto'
import { type RawBuilder, sql } from 'kysely'
import type { Session } from '../engine/session.ts'
import type { Transaction } from '../engine/transaction.ts'
import { dialectOf, type ReadBuilder } from '../query/builder.ts'
import { mutate, prepared } from '../query/prepared.ts'

/**
 * PostgreSQL's timeline, which a promotion changes. Read from the write-ahead log, because pg_control_checkpoint() is late
 * until the next checkpoint. Any role may read it; a standby refuses.
 */
const timeline = sql<string>`substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)`

/**
 * The epoch of the event logs, for the statement that reads them. After a restore, or a failover that lost commits, the same
 * positions may be other events; then the epoch is another one.
 */
export function currentEpoch(db: Pick<ReadBuilder, 'getExecutor'>): RawBuilder<string> {
  if (dialectOf(db) === 'sqlite') return sql`(select epoch from event_log where id = 1)`
  return sql`(
    select case when timeline = current_timeline then epoch
      else epoch || '.' || ltrim(current_timeline, '0') end
    from (select epoch, timeline, ${timeline} as current_timeline from event_log where id = 1) as log
  )`
}

/** The first epoch of the event logs, which cursors without an epoch belong to. */
export const firstEpoch = sql<string>`(select first_epoch from event_log where id = 1)`

export interface LogEpochs {
  readonly epoch: string
  readonly firstEpoch: string
}

/** Columns for the statement that reads them. */
export function epochColumns(db: Pick<ReadBuilder, 'getExecutor'>) {
  return [currentEpoch(db).as('epoch'), firstEpoch.as('firstEpoch')] as const
}

const epochsQuery = prepared((db) => db.selectNoFrom(epochColumns(db)))

export async function findEpochs(session: Session): Promise<LogEpochs> {
  const [epochs] = await epochsQuery(session, {})
  return epochs as LogEpochs
}

/** Sets the epoch of the logs for the database's current timeline. */
export async function setEpochs(tx: Transaction, { epoch, firstEpoch }: LogEpochs): Promise<void> {
  await mutate(tx, (db) =>
    db.updateTable('event_log').set({
      epoch,
      first_epoch: firstEpoch,
      timeline: dialectOf(db) === 'postgres' ? timeline : null,
    }),
  )
}

/** Begins another epoch, as after a restore: all earlier cursors are refused. @returns it */
export async function startEpoch(tx: Transaction): Promise<string> {
  const { firstEpoch } = await findEpochs(tx)
  const epoch = randomBytes(4).toString('base64url')
  await setEpochs(tx, { epoch, firstEpoch })
  return epoch
}
