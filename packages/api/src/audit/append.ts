import { insertAuditEvent, nextPosition, type Transaction } from '@dowell-chat/db'
import { type Actor, nameOf } from '../auth/actor.ts'
import type { Deps } from '../context.ts'
import { newId } from '../identifiers.ts'
import type { AuditAction } from './schema.ts'

/** Writes down who did what, in the transaction that does it. */
export async function appendAuditEvent(
  deps: Pick<Deps, 'clock' | 'randomBytes'>,
  tx: Transaction,
  event: {
    actor: Actor
    orgId: string
    action: AuditAction
    /** The id of what was acted on. */
    target: string
    /** What else a reader needs; never a secret. */
    details?: Record<string, unknown>
  },
): Promise<void> {
  const now = deps.clock()
  await insertAuditEvent(tx, {
    org_id: event.orgId,
    position: await nextPosition(tx, 'last_audit_position', { orgId: event.orgId, now }),
    id: newId(deps),
    action: event.action,
    actor: nameOf(event.actor),
    target: event.target,
    details: JSON.stringify(event.details ?? {}),
    created_at: now,
  })
}
