import { type Kysely, sql } from 'kysely'

/**
 * Versions for preconditions, which a new message does not change. First texts are kept as keyed hashes in tables of their
 * own: pages of messages do not read them.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const [table, column] of versions) {
    await db.schema
      .alterTable(table)
      .addColumn(column, 'integer', (c) => c.notNull().defaultTo(1))
      .execute()
  }
  await db.schema
    .createTable('first_text_keys')
    .addColumn('org_id', 'text', (c) => c.primaryKey().references('organisations.id'))
    .addColumn('secret', 'text', (c) => c.notNull())
    .modifyEnd(sql`strict, without rowid`)
    .execute()
  await db.schema
    .createTable('first_texts')
    .addColumn('org_id', 'text', (c) => c.notNull())
    .addColumn('room_id', 'text', (c) => c.notNull().references('rooms.id'))
    .addColumn('seq', 'integer', (c) => c.notNull())
    .addColumn('hash', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('first_texts_by_message', ['org_id', 'room_id', 'seq'])
    .modifyEnd(sql`strict, without rowid`)
    .execute()
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await db.schema.dropTable('first_texts').execute()
  await db.schema.dropTable('first_text_keys').execute()
  for (const [table, column] of versions) {
    await db.schema.alterTable(table).dropColumn(column).execute()
  }
}

const versions = [
  ['rooms', 'details_version'],
  ['messages', 'text_version'],
  ['organisation_settings', 'version'],
] as const
