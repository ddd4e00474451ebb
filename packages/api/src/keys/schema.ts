import type { ApiKeyRow } from '@dowell-chat/db'
import { z } from 'zod'
import { id, name, time } from '../encoding/fields.ts'

export const rights = ['admin', 'support', 'read'] as const

export const right = z.enum(rights, { error: `must be one of ${rights.join(', ')}` }).meta({
  description:
    'admin: everything, including keys and the audit log. support: rooms, messages and user tokens. read: read only.',
  example: 'support',
})

export const orgId = name.meta({
  description: 'The organisation of the key.',
  example: 'DOWELL12345',
})

/** A key without its secret, which is not stored. */
export const ApiKey = z
  .object({
    id,
    orgId: z.string(),
    right: z.enum(rights),
    name: z.string(),
    createdAt: time,
    lastUsedAt: time
      .meta({ description: 'When the key was last used, accurate to about a minute.' })
      .optional(),
    revokedAt: time
      .meta({ description: 'When the key was revoked. Only on revoked keys.' })
      .optional(),
  })
  .meta({ id: 'ApiKey', additionalProperties: true })
export type ApiKey = z.output<typeof ApiKey>

export function toApiKey(row: ApiKeyRow): ApiKey {
  return {
    id: row.id,
    orgId: row.org_id,
    right: row.access,
    name: row.name,
    createdAt: new Date(row.created_at),
    ...(row.last_used_at === null ? {} : { lastUsedAt: new Date(row.last_used_at) }),
    ...(row.revoked_at === null ? {} : { revokedAt: new Date(row.revoked_at) }),
  }
}

export const exampleApiKey = {
  id: '64ed7d9da57293efb539eb1b',
  orgId: 'DOWELL12345',
  right: 'support',
  name: 'help desk',
  createdAt: '2023-08-29T05:00:00.000Z',
}
