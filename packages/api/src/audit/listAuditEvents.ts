import { listAuditEventsPage } from '@dowell-chat/db'
import { z } from 'zod'
import { authorise, requireOrganisation } from '../auth/access.ts'
import type { Actor } from '../auth/actor.ts'
import type { Deps } from '../context.ts'
import { badField } from '../errors.ts'
import { name } from '../fields.ts'
import { DEFAULT_LIMIT, type Page, pageInput, pageOf, placeOf } from '../paging.ts'
import { positionPage } from '../positionPage.ts'
import { procedure } from '../trpc.ts'
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
export async function listAuditEvents(
  deps: Deps,
  actor: Actor,
  { orgId, limit = DEFAULT_LIMIT, ...place }: z.output<typeof input>,
): Promise<Page<AuditEvent>> {
  requireOrganisation(authorise(actor, 'listAuditEvents'), orgId)
  return positionPage(
    {
      tag: 'a',
      next: (where) => listAuditEventsPage(deps.db.read, { ...where, orgId }),
      positionOf: () => Promise.reject(badField('around', 'is not known here')),
      toItem: toAuditEvent,
    },
    limit,
    placeOf('a', place),
  )
}

export const listAuditEventsProcedure = procedure
  .meta({
    openapi: {
      method: 'GET',
      path: '/api/v3/audit-events',
      tags: ['access'],
      summary: 'Read the audit log',
      description:
        'Who did what to settings, keys, tokens and rooms, and to messages that were not their own, oldest first, a page at a time; without a cursor the newest page.',
    },
    output,
    errors: ['NOT_FOUND'],
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
  })
  .input(input)
  .query(({ ctx, input }) => listAuditEvents(ctx.deps, ctx.actor, input))
