import { type Kysely, sql } from 'kysely'

/** Older versions delete events by their own clock, and need neither column. */
export const oldestWriter = '006-log-epoch'

/** The clock of the retention. Beginning at the newest event, so that a wrong clock of the first start deletes nothing. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const log = db.schema.alterTable('event_log')
  await log.addColumn('retention_time', 'integer').execute()
  await log.addColumn('retention_seen_at', 'integer').execute()
  await sql`update event_log set retention_time = (select max(created_at) from events)`.execute(db)
}

export async function down(db: Kysely<unknown>): Promise<void> {
  for (const column of ['retention_seen_at', 'retention_time']) {
    await db.schema.alterTable('event_log').dropColumn(column).execute()
  }
}
