import { randomBytes } from 'node:crypto'
import { type Kysely, sql } from 'kysely'
import { dialectOf } from '../query/builder.ts'

/** One row for the event logs of all organisations: which history they are of. */
interface WithEventLog {
  event_log: { id: number; epoch: string; first_epoch: string; timeline: string | null }
}

export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('event_log')
    .addColumn('id', 'integer', (c) => c.primaryKey().check(sql`id = 1`))
    .addColumn('epoch', 'text', (c) => c.notNull())
    .addColumn('first_epoch', 'text', (c) => c.notNull())
    .addColumn('timeline', 'text')
    .modifyEnd(sql`strict`)
    .execute()
  const epoch = randomBytes(4).toString('base64url')
  // Only PostgreSQL has timelines. This one belongs to the epoch; another one is another epoch.
  const timeline =
    dialectOf(db) === 'postgres'
      ? sql<string>`substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)`
      : null
  await (db as Kysely<WithEventLog>)
    .insertInto('event_log')
    .values({ id: 1, epoch, first_epoch: epoch, timeline })
    .execute()
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await db.schema.dropTable('event_log').execute()
}
