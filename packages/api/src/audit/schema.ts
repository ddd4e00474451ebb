import type { AuditEventRow } from '@dowell-chat/db'
import { z } from 'zod'
import { id, time } from '../encoding/fields.ts'

export const auditActions = [
  'apiKey.created',
  'apiKey.revoked',
  'userToken.created',
  'userTokens.revoked',
  'room.updated',
  'room.deleted',
  'room.restored',
  'message.updated',
  'message.deleted',
  'organisation.updated',
] as const
export type AuditAction = (typeof auditActions)[number]

export const AuditEvent = z
  .object({
    id,
    orgId: z.string(),
    action: z.string().meta({
      description: `One of ${auditActions.join(', ')}; later versions may add others.`,
    }),
    actor: z.string().meta({
      description:
        '`key:` and the id of an API key, `user:` and a user id, `cli`, or `open` for a caller without a credential.',
    }),
    target: z
      .string()
      .meta({ description: 'The id of the changed object, or the user of a token.' }),
    details: z.record(z.string(), z.unknown()),
    createdAt: time,
  })
  .meta({ id: 'AuditEvent', additionalProperties: true })
export type AuditEvent = z.output<typeof AuditEvent>

export function toAuditEvent(row: AuditEventRow): AuditEvent {
  return {
    id: row.id,
    orgId: row.org_id,
    action: row.action,
    actor: row.actor,
    target: row.target,
    details: JSON.parse(row.details),
    createdAt: new Date(row.created_at),
  }
}
