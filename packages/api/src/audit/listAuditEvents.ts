import { auditEventsNextTo } from '@dowell-chat/db'
import { z } from 'zod'
import { name } from '../encoding/fields.ts'
import { listPage } from '../encoding/listPage.ts'
import { DEFAULT_LIMIT, pageInput, pageOf, placeOf } from '../encoding/paging.ts'
import { assertOrganisation } from '../operation/access.ts'
import { badField } from '../operation/errors.ts'
import { query } from '../operation/operation.ts'
import { AuditEvent, toAuditEvent } from './schema.ts'

const { around: _, ...paging } = pageInput

const input = z.strictObject({
  orgId: name.meta({ description: 'The organisation.', example: 'DOWELL12345' }),
  ...paging,
})

const output = pageOf(AuditEvent).meta({ id: 'AuditEventPage', additionalProperties: true })

/**
 * Who did what to an organisation's settings, keys, tokens, rooms and messages, oldest first. Without a cursor: the newest page.
 *
 * @throws AppError FORBIDDEN, NOT_FOUND; BAD_REQUEST for an invalid cursor
 */
export const listAuditEvents = query({
  access: {
    open: 'none',
    adminKey: 'organisation',
    supportKey: 'none',
    readKey: 'none',
    supportToken: 'none',
    customerToken: 'none',
  },
  cost: 'read',
  input,
  output,
  errors: ['NOT_FOUND'],
  rest: {
    method: 'GET',
    path: '/api/v3/audit-events',
    tag: 'access',
    summary: 'Read the audit log',
    description:
      'Who did what to settings, keys, tokens and rooms, and to messages that were not their own, oldest first, a page at a time; without a cursor the newest page.',
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
  async run({ deps, scope }, { orgId, limit = DEFAULT_LIMIT, ...place }) {
    assertOrganisation(scope, orgId)
    return listPage(
      {
        tag: 'a',
        next: (where) => auditEventsNextTo(deps.db.read, { ...where, orgId }),
        positionOf: () => Promise.reject(badField('around', 'is not known here')),
        toItem: toAuditEvent,
      },
      limit,
      placeOf('a', place),
    )
  },
})
