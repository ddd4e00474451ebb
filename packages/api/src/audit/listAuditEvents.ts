import { listAuditEventsPage } from '@dowell-chat/db'
import { z } from 'zod'
import { name } from '../encoding/fields.ts'
import { listPage } from '../encoding/listPage.ts'
import { DEFAULT_LIMIT, pageInput, pageOf, toPageRef } from '../encoding/paging.ts'
import { admins, assertOrganisation } from '../operation/access.ts'
import { badField } from '../operation/errors.ts'
import { query } from '../operation/operation.ts'
import { AuditEvent, toAuditEvent } from './schema.ts'

const { around: _, ...pageFields } = pageInput

const input = z.strictObject({
  orgId: name.meta({ description: 'The organisation.', example: 'DOWELL12345' }),
  ...pageFields,
})

const output = pageOf(AuditEvent).meta({ id: 'AuditEventPage', additionalProperties: true })

/**
 * Lists the audit log of an organisation, oldest first. Without a cursor: the newest page.
 *
 * @throws AppError FORBIDDEN, NOT_FOUND; BAD_REQUEST for an invalid cursor
 */
export const listAuditEvents = query({
  access: admins,
  cost: 'read',
  input,
  output,
  errors: ['NOT_FOUND', 'CURSOR_TOO_OLD'],
  rest: {
    method: 'GET',
    path: '/api/v3/audit-events',
    tag: 'access',
    summary: 'Read the audit log',
    description:
      'Changes of settings, keys, tokens and rooms, and of messages by callers without a user token, with the caller of each. Oldest first, in pages; without a cursor the newest page.',
  },
  example: {
    input: { orgId: 'DOWELL12345', limit: 50 },
    output: {
      items: [
        {
          id: '64ed7d9da57293efb539eb1c',
          orgId: 'DOWELL12345',
          action: 'room.deleted',
          actor: 'key:64ed7d9da57293efb539eb1b',
          target: '64e96a73f59c079a226e1ae9',
          details: {},
          createdAt: '2023-08-29T05:12:00.000Z',
        },
      ],
      before: 'YTow',
      after: 'YTox',
      hasBefore: false,
      hasAfter: false,
    },
  },
  async run({ deps, scope }, { orgId, limit = DEFAULT_LIMIT, ...page }) {
    assertOrganisation(scope, orgId)
    return listPage(
      {
        tag: 'a',
        cursorEpoch: deps.cursorEpoch,
        next: (where) => listAuditEventsPage(deps.db.read, { ...where, orgId }),
        positionOf: () => Promise.reject(badField('around', 'is not known here')),
        toItem: toAuditEvent,
      },
      limit,
      toPageRef('a', page),
    )
  },
})
