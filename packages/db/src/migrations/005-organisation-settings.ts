import { type Kysely, sql } from 'kysely'

/**
 * A table of their own, and not a column of `organisations`: that row is written anew with every commit of the event log,
 * and the settings would be written with it.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('organisation_settings')
    .addColumn('org_id', 'text', (c) => c.primaryKey().references('organisations.id'))
    .addColumn('settings', 'text', (c) => c.notNull())
    .modifyEnd(sql`strict, without rowid`)
    .execute()
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await db.schema.dropTable('organisation_settings').execute()
}
