import { allOrganisations, type RoomScope } from '@dowell-chat/db'
import type { Actor } from '../auth/actor.ts'
import { AppError } from './errors.ts'

/**
 * Which rows a role may access with an operation.
 *
 * - `any`: those of every organisation
 * - `organisation`: those of its own organisation; other rows do not exist for it (404)
 * - `own`: those of its own user in its organisation; other rooms do not exist for it (404)
 * - `none`: it may not call the operation (403)
 *
 * A token that is limited to some rooms sees only these.
 */
export type AccessLevel = 'any' | 'organisation' | 'own' | 'none'

/** The kinds of callers. `open` needs no credential. */
export const roles = [
  'open',
  'adminKey',
  'supportKey',
  'readKey',
  'supportToken',
  'customerToken',
] as const
export type Role = (typeof roles)[number]

/** An operation names a level for each role: one of the rules below, or one of its own. */
export type Access = Readonly<Record<Role, AccessLevel>>

/** All roles; customers in their own rooms. */
export const readers: Access = {
  open: 'any',
  adminKey: 'organisation',
  supportKey: 'organisation',
  readKey: 'organisation',
  supportToken: 'organisation',
  customerToken: 'own',
}

/** All roles but the read key; customers in their own rooms. */
export const writers: Access = { ...readers, readKey: 'none' }

/** Writers without customers. */
export const supportTeam: Access = { ...writers, customerToken: 'none' }

const noRole: Access = {
  open: 'none',
  adminKey: 'none',
  supportKey: 'none',
  readKey: 'none',
  supportToken: 'none',
  customerToken: 'none',
}

/** Only admin keys, in open mode too. */
export const admins: Access = { ...noRole, adminKey: 'organisation' }

/** Only admin and support keys, in open mode too. */
export const tokenIssuers: Access = { ...admins, supportKey: 'organisation' }

export function roleOf(actor: Actor): Role {
  switch (actor.kind) {
    case 'open':
      return 'open'
    case 'key':
      return `${actor.right}Key`
    case 'user':
      return actor.side ? 'supportToken' : 'customerToken'
  }
}

/** A caller through a proxy that the server cannot see must not create the first key. */
const NEEDS_KEY =
  'This needs an API key, in open mode too. Make the first one on the machine of the server, with "npm run cli -- keys create"'

/**
 * The rows that a caller may access. The operator at the command line may access all.
 *
 * @throws AppError FORBIDDEN when the caller may not call the operation
 */
export function authorise(actor: Actor, access: Access): RoomScope {
  if (actor.kind === 'open') {
    if (actor.via === 'http' && access.open === 'none') {
      throw new AppError('FORBIDDEN', { message: NEEDS_KEY })
    }
    return { orgId: allOrganisations }
  }
  const level = access[roleOf(actor)]
  if (level === 'none') throw new AppError('FORBIDDEN')
  if (actor.kind === 'key') return { orgId: actor.orgId }
  return {
    orgId: actor.orgId,
    userId: level === 'own' ? actor.userId : undefined,
    roomIds: actor.rooms && [...actor.rooms],
  }
}

/** @throws AppError NOT_FOUND for another organisation than the caller's, whether it exists or not */
export function assertOrganisation(scope: RoomScope, orgId: string): void {
  if (scope.orgId !== allOrganisations && scope.orgId !== orgId) {
    throw new AppError('NOT_FOUND', { message: 'There is no such organisation' })
  }
}
