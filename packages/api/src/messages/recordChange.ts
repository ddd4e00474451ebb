import { appendEvent, type MessageRow, type Transaction } from '@dowell-chat/db'
import { appendAuditEvent } from '../audit/append.ts'
import type { Actor } from '../auth/actor.ts'
import type { Deps } from '../context.ts'

/** Notes that a message was edited or deleted, in the transaction that does it. */
export async function recordChange(
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
  // A token changes what its own user wrote; a key, or nobody in particular, what somebody else did.
  if (actor.kind === 'user') return
  await appendAuditEvent(deps, tx, { actor, orgId, action, target: id, details: { roomId } })
}
