import { type Kysely, sql } from 'kysely'
import { dialectOf } from '../query/builder.ts'

export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .alterTable('organisations')
    .addColumn('last_key_position', 'integer', (c) => c.notNull().defaultTo(0))
    .execute()
  await db.schema
    .alterTable('organisations')
    .addColumn('last_audit_position', 'integer', (c) => c.notNull().defaultTo(0))
    .execute()

  // A customer lists the rooms of one user.
  await db.schema
    .createIndex('rooms_by_user')
    .unique()
    .on('rooms')
    .columns(['org_id', 'user_id', 'position'])
    .execute()

  await db.schema
    .createTable('api_keys')
    .addColumn('id', 'text', (c) => c.primaryKey().check(sql`length(id) = 24`))
    .addColumn('org_id', 'text', (c) => c.notNull().references('organisations.id'))
    .addColumn('position', 'integer', (c) => c.notNull().check(sql`position > 0`))
    .addColumn('secret_hash', 'text', (c) => c.notNull().check(sql`length(secret_hash) = 64`))
    .addColumn('access', 'text', (c) =>
      c.notNull().check(sql`access in ('admin', 'support', 'read')`),
    )
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('created_at', 'integer', (c) => c.notNull())
    .addColumn('last_used_at', 'integer')
    .addColumn('revoked_at', 'integer')
    .modifyEnd(sql`strict`)
    .execute()
  await db.schema
    .createIndex('api_keys_by_position')
    .unique()
    .on('api_keys')
    .columns(['org_id', 'position'])
    .execute()

  await db.schema
    .createTable('signing_keys')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('secret', 'text', (c) => c.notNull())
    .addColumn('created_at', 'integer', (c) => c.notNull())
    .modifyEnd(sql`strict`)
    .execute()

  await db.schema
    .createTable('audit_events')
    .addColumn('org_id', 'text', (c) => c.notNull().references('organisations.id'))
    .addColumn('position', 'integer', (c) => c.notNull().check(sql`position > 0`))
    .addColumn('id', 'text', (c) => c.notNull().unique())
    .addColumn('action', 'text', (c) => c.notNull())
    .addColumn('actor', 'text', (c) => c.notNull())
    .addColumn('target', 'text', (c) => c.notNull())
    .addColumn('details', 'text', (c) => c.notNull())
    .addColumn('created_at', 'integer', (c) => c.notNull())
    .addPrimaryKeyConstraint('audit_events_by_position', ['org_id', 'position'])
    .modifyEnd(sql`strict, without rowid`)
    .execute()
  // Append-only is the database's promise too: no code of ours, and no console, rewrites what was done.
  await (dialectOf(db) === 'postgres' ? refuseChangesOnPostgres(db) : refuseChangesOnSqlite(db))
}

async function refuseChangesOnSqlite(db: Kysely<unknown>): Promise<void> {
  for (const change of ['update', 'delete']) {
    await sql`
      create trigger ${sql.raw(`audit_events_no_${change}`)} before ${sql.raw(change)} on audit_events
      begin select raise(abort, 'audit events are append-only'); end
    `.execute(db)
  }
  // "insert or replace" deletes what is in its way without asking the trigger for that.
  await sql`
    create trigger audit_events_no_replace before insert on audit_events
    when exists (select 1 from audit_events where org_id = new.org_id and position = new.position)
      or exists (select 1 from audit_events where id = new.id)
    begin select raise(abort, 'audit events are append-only'); end
  `.execute(db)
}

async function refuseChangesOnPostgres(db: Kysely<unknown>): Promise<void> {
  await sql`
    create function audit_events_no_change() returns trigger language plpgsql
    as $$ begin raise exception 'audit events are append-only'; end $$
  `.execute(db)
  await sql`
    create trigger audit_events_no_change before update or delete or truncate on audit_events
    for each statement execute function audit_events_no_change()
  `.execute(db)
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await db.schema.dropTable('audit_events').execute()
  if (dialectOf(db) === 'postgres') await sql`drop function audit_events_no_change`.execute(db)
  await db.schema.dropTable('signing_keys').execute()
  await db.schema.dropTable('api_keys').execute()
  await db.schema.dropIndex('rooms_by_user').execute()
  await db.schema.alterTable('organisations').dropColumn('last_audit_position').execute()
  await db.schema.alterTable('organisations').dropColumn('last_key_position').execute()
}
