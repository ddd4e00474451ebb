import { type Kysely, sql } from 'kysely'

/** Characters of a message that its room repeats. */
const PREVIEW = 200

const columns = [
  'last_message_seq',
  'last_message_type',
  'last_message_side',
  'last_message_author',
  'last_message_at',
]

/** A room describes its latest message, and repeats the beginning of its text only: lists stay small. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const room = db.schema.alterTable('rooms')
  await room.addColumn('last_message_seq', 'integer').execute()
  await room.addColumn('last_message_type', 'text').execute()
  await room
    .addColumn('last_message_side', 'integer', (c) => c.check(sql`last_message_side in (0, 1)`))
    .execute()
  await room.addColumn('last_message_author', 'text').execute()
  await room.addColumn('last_message_at', 'integer').execute()
  await sql`
    update rooms set last_message_seq = (
      select seq from messages
      where messages.org_id = rooms.org_id and messages.room_id = rooms.id and is_active = 1
      order by seq desc limit 1
    )
  `.execute(db)
  await sql`
    update rooms set
      last_message = substr(latest.message_data, 1, ${sql.lit(PREVIEW)}),
      last_message_type = latest.message_type,
      last_message_side = latest.side,
      last_message_author = latest.author,
      last_message_at = latest.created_at
    from messages as latest
    where latest.org_id = rooms.org_id and latest.room_id = rooms.id
      and latest.seq = rooms.last_message_seq
  `.execute(db)
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await sql`
    update rooms set last_message = latest.message_data
    from messages as latest
    where latest.org_id = rooms.org_id and latest.room_id = rooms.id
      and latest.seq = rooms.last_message_seq
  `.execute(db)
  for (const column of columns) await db.schema.alterTable('rooms').dropColumn(column).execute()
}
