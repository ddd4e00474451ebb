import { type Kysely, sql } from 'kysely'

const notNegative = (column: string) => sql`${sql.ref(column)} >= 0`

export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .alterTable('organisations')
    .addColumn('last_event_position', 'integer', (c) => c.notNull().defaultTo(0))
    .execute()

  const room = db.schema.alterTable('rooms')
  await room.addColumn('version', 'integer', (c) => c.notNull().defaultTo(0)).execute()
  await room.addColumn('support_count', 'integer', (c) => c.notNull().defaultTo(0)).execute()
  await room.addColumn('subject', 'text').execute()
  await room
    .addColumn('status', 'text', (c) =>
      c.notNull().defaultTo('open').check(sql`status in ('open', 'pending', 'resolved')`),
    )
    .execute()
  await room.addColumn('assignee', 'text').execute()
  await room.addColumn('labels', 'text', (c) => c.notNull().defaultTo('[]')).execute()
  await room.addColumn('custom', 'text', (c) => c.notNull().defaultTo('{}')).execute()

  await db.schema
    .createIndex('rooms_by_status')
    .unique()
    .on('rooms')
    .columns(['org_id', 'status', 'position'])
    .execute()
  await db.schema
    .createIndex('rooms_by_assignee')
    .unique()
    .on('rooms')
    .columns(['org_id', 'assignee', 'position'])
    .where(sql.ref('assignee'), 'is not', null)
    .execute()
  await db.schema
    .createIndex('rooms_by_assignee_status')
    .unique()
    .on('rooms')
    .columns(['org_id', 'assignee', 'status', 'position'])
    .where(sql.ref('assignee'), 'is not', null)
    .execute()
  await db.schema
    .createIndex('rooms_by_product_status')
    .unique()
    .on('rooms')
    .columns(['org_id', 'product_name', 'status', 'position'])
    .execute()
  await db.schema
    .createIndex('rooms_by_activity')
    .unique()
    .on('rooms')
    .columns(['org_id', 'is_active', 'position'])
    .execute()
  // A row for each label of a room, so that a list by label is one range of rows as well.
  await db.schema
    .createTable('room_labels')
    .addColumn('org_id', 'text', (c) => c.notNull())
    .addColumn('label', 'text', (c) => c.notNull())
    .addColumn('position', 'integer', (c) => c.notNull())
    .addColumn('room_id', 'text', (c) => c.notNull().references('rooms.id'))
    .addPrimaryKeyConstraint('room_labels_by_label', ['org_id', 'label', 'position'])
    .modifyEnd(sql`strict, without rowid`)
    .execute()
  await db.schema
    .createIndex('room_labels_by_room')
    .unique()
    .on('room_labels')
    .columns(['room_id', 'label'])
    .execute()

  const message = db.schema.alterTable('messages')
  await message.addColumn('support_count', 'integer', (c) => c.notNull().defaultTo(0)).execute()
  await message.addColumn('edited_at', 'integer').execute()
  await message.addColumn('deleted_at', 'integer').execute()
  await sql`
    update messages set support_count = counted.support_count
    from (
      select org_id, room_id, seq,
        sum(side) over (partition by org_id, room_id order by seq) as support_count
      from messages
    ) as counted
    where messages.org_id = counted.org_id and messages.room_id = counted.room_id
      and messages.seq = counted.seq and counted.support_count > 0
  `.execute(db)
  await sql`
    update rooms set support_count = newest.support_count
    from messages as newest
    where newest.org_id = rooms.org_id and newest.room_id = rooms.id and newest.seq = rooms.last_seq
  `.execute(db)
  // Unread counts leave deleted messages out; there are few, and a send does not touch this index.
  await db.schema
    .createIndex('messages_deleted')
    .on('messages')
    .columns(['org_id', 'room_id', 'side', 'seq'])
    .where(sql.ref('is_active'), '=', sql.lit(0))
    .execute()

  await db.schema
    .createTable('read_markers')
    .addColumn('org_id', 'text', (c) => c.notNull())
    .addColumn('room_id', 'text', (c) => c.notNull().references('rooms.id'))
    .addColumn('side', 'integer', (c) => c.notNull().check(sql`side in (0, 1)`))
    .addColumn('user_id', 'text', (c) => c.notNull())
    .addColumn('seq', 'integer', (c) => c.notNull().check(notNegative('seq')))
    .addColumn('updated_at', 'integer', (c) => c.notNull())
    .addPrimaryKeyConstraint('read_markers_by_reader', ['org_id', 'room_id', 'side', 'user_id'])
    .modifyEnd(sql`strict, without rowid`)
    .execute()
  await db.schema
    .createIndex('read_markers_by_time')
    .on('read_markers')
    .columns(['org_id', 'room_id', 'updated_at'])
    .execute()

  // What happened, and to what, but not what it looked like: an event is read together with its room and message, so the
  // log holds no content that somebody deleted.
  await db.schema
    .createTable('events')
    .addColumn('org_id', 'text', (c) => c.notNull().references('organisations.id'))
    .addColumn('position', 'integer', (c) => c.notNull().check(sql`position > 0`))
    .addColumn('room_id', 'text', (c) => c.notNull().references('rooms.id'))
    .addColumn('type', 'text', (c) => c.notNull())
    .addColumn('message_seq', 'integer')
    .addColumn('marker_seq', 'integer')
    .addColumn('user_id', 'text')
    .addColumn('side', 'integer', (c) => c.check(sql`side in (0, 1)`))
    .addColumn('created_at', 'integer', (c) => c.notNull())
    .addPrimaryKeyConstraint('events_by_position', ['org_id', 'position'])
    .modifyEnd(sql`strict, without rowid`)
    .execute()
  await db.schema
    .createIndex('events_by_room')
    .unique()
    .on('events')
    .columns(['org_id', 'room_id', 'position'])
    .execute()
}

export async function down(db: Kysely<unknown>): Promise<void> {
  for (const table of ['events', 'read_markers', 'room_labels']) {
    await db.schema.dropTable(table).execute()
  }
  for (const index of [
    'messages_deleted',
    'rooms_by_activity',
    'rooms_by_product_status',
    'rooms_by_assignee_status',
    'rooms_by_assignee',
    'rooms_by_status',
  ]) {
    await db.schema.dropIndex(index).execute()
  }
  for (const column of ['deleted_at', 'edited_at', 'support_count']) {
    await db.schema.alterTable('messages').dropColumn(column).execute()
  }
  for (const column of [
    'custom',
    'labels',
    'assignee',
    'status',
    'subject',
    'support_count',
    'version',
  ]) {
    await db.schema.alterTable('rooms').dropColumn(column).execute()
  }
  await db.schema.alterTable('organisations').dropColumn('last_event_position').execute()
}
