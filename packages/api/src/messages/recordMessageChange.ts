import { appendEvent, type MessageRow, type Transaction } from '@dowell-chat/db'
import { appendAuditEvent } from '../audit/append.ts'
import type { Actor } from '../auth/actor.ts'
import type { Deps } from '../operation/context.ts'

/** Appends the event and the audit entry of an edit or deletion, in the same transaction. */
export async function recordMessageChange(
  deps: Deps,
  tx: Transaction,
  actor: Actor,
  action: 'message.updated' | 'message.deleted',
  { org_id: orgId, room_id: roomId, seq, id }: MessageRow,
): Promise<void> {
  appendEvent(tx, {
    type: action,
    org_id: orgId,
    room_id: roomId,
    message_seq: seq,
    created_at: deps.clock(),
  })
  // A user token changes only its own messages, which needs no audit.
  if (actor.kind === 'user') return
  await appendAuditEvent(deps, tx, { actor, orgId, action, target: id, details: { roomId } })
}
