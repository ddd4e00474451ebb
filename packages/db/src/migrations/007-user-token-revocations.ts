import { type Kysely, sql } from 'kysely'

/** When the tokens of a user were last revoked. A row lasts as long as a token may. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('user_token_revocations')
    .addColumn('org_id', 'text', (c) => c.notNull().references('organisations.id'))
    .addColumn('user_id', 'text', (c) => c.notNull())
    .addColumn('revoked_at', 'integer', (c) => c.notNull())
    .addPrimaryKeyConstraint('user_token_revocations_by_user', ['org_id', 'user_id'])
    .modifyEnd(sql`strict, without rowid`)
    .execute()
  // For the recent ones, and for those to delete.
  await db.schema
    .createIndex('user_token_revocations_by_time')
    .on('user_token_revocations')
    .column('revoked_at')
    .execute()
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await db.schema.dropTable('user_token_revocations').execute()
}
