import { type Kysely, sql } from 'kysely'

export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('organisations')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('created_at', 'integer', (c) => c.notNull())
    .addColumn('last_room_position', 'integer', (c) => c.notNull())
    .modifyEnd(sql`strict, without rowid`)
    .execute()

  await db.schema
    .createTable('rooms')
    .addColumn('id', 'text', (c) => c.primaryKey().check(sql`length(id) = 24`))
    .addColumn('org_id', 'text', (c) => c.notNull().references('organisations.id'))
    .addColumn('position', 'integer', (c) => c.notNull().check(sql`position > 0`))
    .addColumn('event_id', 'text', (c) => c.notNull())
    .addColumn('user_id', 'text', (c) => c.notNull())
    .addColumn('portfolio_name', 'text', (c) => c.notNull())
    .addColumn('product_name', 'text', (c) => c.notNull())
    .addColumn('room_room_id', 'text', (c) => c.notNull())
    .addColumn('is_active', 'integer', (c) => c.notNull().check(sql`is_active in (0, 1)`))
    .addColumn('last_seq', 'integer', (c) => c.notNull().check(sql`last_seq >= 0`))
    .addColumn('last_message', 'text')
    .addColumn('created_at', 'integer', (c) => c.notNull())
    .addColumn('updated_at', 'integer', (c) => c.notNull())
    .modifyEnd(sql`strict`)
    .execute()

  // "One active room" is the database's promise, not a check that two callers can pass at once.
  await db.schema
    .createIndex('rooms_one_active')
    .unique()
    .on('rooms')
    .columns(['org_id', 'user_id', 'portfolio_name', 'product_name'])
    .where(sql.ref('is_active'), '=', sql.lit(1))
    .execute()
  await db.schema
    .createIndex('rooms_by_position')
    .unique()
    .on('rooms')
    .columns(['org_id', 'position'])
    .execute()
  await db.schema
    .createIndex('rooms_by_product')
    .unique()
    .on('rooms')
    .columns(['org_id', 'product_name', 'position'])
    .execute()

  // Clustered by room and position: a page of a room is neighbouring rows, however large the table.
  // The organisation leads the key so that the table can be partitioned by it.
  await db.schema
    .createTable('messages')
    .addColumn('org_id', 'text', (c) => c.notNull())
    .addColumn('room_id', 'text', (c) => c.notNull().references('rooms.id'))
    .addColumn('seq', 'integer', (c) => c.notNull().check(sql`seq > 0`))
    .addColumn('id', 'text', (c) => c.notNull().check(sql`length(id) = 24`))
    .addColumn('side', 'integer', (c) => c.notNull().check(sql`side in (0, 1)`))
    .addColumn('author', 'text', (c) => c.notNull())
    .addColumn('message_type', 'text', (c) => c.notNull())
    .addColumn('message_data', 'text', (c) => c.notNull())
    .addColumn('client_message_id', 'text')
    .addColumn('is_active', 'integer', (c) => c.notNull().check(sql`is_active in (0, 1)`))
    .addColumn('created_at', 'integer', (c) => c.notNull())
    .addPrimaryKeyConstraint('messages_by_seq', ['org_id', 'room_id', 'seq'])
    .modifyEnd(sql`strict, without rowid`)
    .execute()

  await db.schema.createIndex('messages_by_id').unique().on('messages').column('id').execute()
  await db.schema
    .createIndex('messages_by_client_id')
    .unique()
    .on('messages')
    .columns(['room_id', 'side', 'author', 'client_message_id'])
    .where(sql.ref('client_message_id'), 'is not', null)
    .execute()
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await db.schema.dropTable('messages').execute()
  await db.schema.dropTable('rooms').execute()
  await db.schema.dropTable('organisations').execute()
}
