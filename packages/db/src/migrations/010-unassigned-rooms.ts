import { type Kysely, sql } from 'kysely'

/** An index changes nothing that older versions write. */
export const oldestWriter = '006-log-epoch'

/** One index of unassigned rooms, by status: a list of all statuses merges the three. Every new room is in it. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createIndex('rooms_unassigned')
    .unique()
    .on('rooms')
    .columns(['org_id', 'status', 'position'])
    .where(sql.ref('assignee'), 'is', null)
    .execute()
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await db.schema.dropIndex('rooms_unassigned').execute()
}
