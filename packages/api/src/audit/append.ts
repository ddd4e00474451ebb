import { insertAuditEvent, nextPosition, type Transaction } from '@dowell-chat/db'
import { type Actor, auditName } from '../auth/actor.ts'
import { newId } from '../identifiers.ts'
import type { Deps } from '../operation/context.ts'
import type { AuditAction } from './schema.ts'

/** Records an action in the audit log, in the transaction of the action. */
export async function appendAuditEvent(
  deps: Pick<Deps, 'clock' | 'randomBytes'>,
  tx: Transaction,
  event: {
    actor: Actor
    orgId: string
    action: AuditAction
    /** The id of the changed object. */
    target: string
    /** Must not contain secrets. */
    details?: Record<string, unknown>
  },
): Promise<void> {
  const now = deps.clock()
  await insertAuditEvent(tx, {
    org_id: event.orgId,
    position: await nextPosition(tx, 'last_audit_position', { orgId: event.orgId, now }),
    id: newId(deps),
    action: event.action,
    actor: auditName(event.actor),
    target: event.target,
    details: JSON.stringify(event.details ?? {}),
    created_at: now,
  })
}
