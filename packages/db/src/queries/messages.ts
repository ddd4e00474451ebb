import type { Insertable, Kysely } from 'kysely'
import type { MessageRow, MessagesTable, Tables } from '../tables.ts'
import type { Tx } from '../transaction.ts'

interface InRoom {
  readonly orgId: string
  readonly roomId: string
}

export async function insertMessage(tx: Tx, row: Insertable<MessagesTable>): Promise<void> {
  await tx.insertInto('messages').values(row).execute()
}

/** The message that a sender stored under its own id before. */
export async function findMessageByClientId(
  db: Kysely<Tables>,
  where: InRoom & { side: boolean; author: string; clientMessageId: string },
): Promise<MessageRow | undefined> {
  return db
    .selectFrom('messages')
    .selectAll()
    .where('room_id', '=', where.roomId)
    .where('side', '=', where.side ? 1 : 0)
    .where('author', '=', where.author)
    .where('client_message_id', '=', where.clientMessageId)
    .where('org_id', '=', where.orgId)
    .executeTakeFirst()
}

export async function findMessage(
  db: Kysely<Tables>,
  where: InRoom & { messageId: string },
): Promise<MessageRow | undefined> {
  return db
    .selectFrom('messages')
    .selectAll()
    .where('id', '=', where.messageId)
    .where('org_id', '=', where.orgId)
    .where('room_id', '=', where.roomId)
    .executeTakeFirst()
}

/** The messages after position `from`, up to and including `to`, in order. */
export async function messagesInRange(
  db: Kysely<Tables>,
  where: InRoom & { from: number; to: number },
): Promise<MessageRow[]> {
  return db
    .selectFrom('messages')
    .selectAll()
    .where('org_id', '=', where.orgId)
    .where('room_id', '=', where.roomId)
    .where('seq', '>', where.from)
    .where('seq', '<=', where.to)
    .orderBy('seq', 'asc')
    .execute()
}
