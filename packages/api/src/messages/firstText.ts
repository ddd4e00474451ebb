import { Buffer } from 'node:buffer'
import { createHmac } from 'node:crypto'
import {
  findFirstText,
  findFirstTextKey,
  getOrInsertFirstTextKey,
  insertFirstText,
  type MessageRow,
  type Transaction,
} from '@dowell-chat/db'
import type { Deps } from '../operation/context.ts'

type Content = Pick<MessageRow, 'message_type' | 'message_data'>

/**
 * Stores a keyed hash of the first content of a message that is about to be edited: a repeated send is compared with it.
 * The key is the organisation's, in the database, so that every instance, a copy and a restored backup have it. A message
 * that was sent without an id needs none.
 */
export async function keepFirstText(
  deps: Pick<Deps, 'randomBytes'>,
  tx: Transaction,
  message: MessageRow,
): Promise<void> {
  if (message.client_message_id === null || message.edited_at !== null) return
  const { org_id: orgId, room_id: roomId, seq } = message
  const secret =
    (await findFirstTextKey(tx, { orgId })) ??
    (await getOrInsertFirstTextKey(tx, {
      orgId,
      secret: Buffer.from(deps.randomBytes(32)).toString('base64url'),
    }))
  await insertFirstText(tx, { orgId, roomId, seq, hash: hashOf(secret, message, message) })
}

/** Whether a content is the first one of an edited message. True too if that is unknown. */
export async function isFirstText(
  tx: Transaction,
  message: MessageRow,
  content: Content,
): Promise<boolean> {
  const { org_id: orgId, room_id: roomId, seq } = message
  const hash = await findFirstText(tx, { orgId, roomId, seq })
  const secret = hash === undefined ? undefined : await findFirstTextKey(tx, { orgId })
  // Deleted, or edited by a version of the server that kept no hash.
  if (hash === undefined || secret === undefined) return true
  return hashOf(secret, message, content) === hash
}

/** The message's id makes equal texts have different hashes. */
function hashOf(secret: string, { id }: MessageRow, content: Content): string {
  return createHmac('sha256', Buffer.from(secret, 'base64url'))
    .update(JSON.stringify([id, content.message_type, content.message_data]))
    .digest('base64url')
}
