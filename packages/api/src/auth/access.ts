import { allOrganisations, type RoomScope } from '@dowell-chat/db'
import { AppError } from '../errors.ts'
import type { Actor } from './actor.ts'

/**
 * What an actor may do with a procedure.
 *
 * - `all`: with the rows of every organisation
 * - `org`: with the rows of its organisation; every other row does not exist for it (404)
 * - `own`: with the rooms of its own user in its organisation; every other room does not exist for it (404)
 * - `no`: nothing (403)
 *
 * A token that is limited to some rooms has less: every other room does not exist for it either.
 */
export type Access = 'all' | 'org' | 'own' | 'no'

/** The kinds of callers, in the order of the table's columns. */
export const columns = [
  'open',
  'admin',
  'support',
  'read',
  'supportToken',
  'customerToken',
] as const
export type Column = (typeof columns)[number]

/** What a call costs of a caller's budget: see `weights`. */
export type Cost = 'read' | 'write' | 'mint'

export type Row = readonly [Access, Access, Access, Access, Access, Access, Cost]

/** Who may do what. A procedure without a row does not compile. */
// biome-ignore format: a table is read by its columns
export const accessTable = {
  //                open   admin  support read   support customer
  //                       key    key     key    token   token    cost
  createRoom:      ['all', 'org', 'org',  'no',  'org',  'own',   'write'],
  getRoomById:     ['all', 'org', 'org',  'org', 'org',  'own',   'read'],
  deleteRoom:      ['all', 'org', 'org',  'no',  'org',  'no',    'write'],
  updateRoom:      ['all', 'org', 'org',  'no',  'org',  'no',    'write'],
  listRooms:       ['all', 'org', 'org',  'org', 'org',  'own',   'read'],
  createMessage:   ['all', 'org', 'org',  'no',  'org',  'own',   'write'],
  updateMessage:   ['all', 'org', 'org',  'no',  'org',  'own',   'write'],
  deleteMessage:   ['all', 'org', 'org',  'no',  'org',  'own',   'write'],
  getMessages:     ['all', 'org', 'org',  'org', 'org',  'own',   'read'],
  getRoomSnapshot: ['all', 'org', 'org',  'org', 'org',  'own',   'read'],
  markRead:        ['all', 'org', 'org',  'no',  'org',  'own',   'write'],
  listEvents:      ['all', 'org', 'org',  'org', 'org',  'own',   'read'],
  onRoomEvents:    ['all', 'org', 'org',  'org', 'org',  'own',   'read'],
  onInboxEvents:   ['all', 'org', 'org',  'org', 'org',  'own',   'read'],
  onUserEvents:    ['all', 'org', 'org',  'org', 'org',  'own',   'read'],
  createStreamToken: ['all', 'org', 'org', 'org', 'org', 'own', 'write'],
  setTyping:       ['all', 'org', 'org',  'no',  'org',  'own',   'write'],
  createUserToken: ['no',  'org', 'org',  'no',  'no',   'no',    'mint'],
  createApiKey:    ['no',  'org', 'no',   'no',  'no',   'no',    'mint'],
  listApiKeys:     ['no',  'org', 'no',   'no',  'no',   'no',    'read'],
  revokeApiKey:    ['no',  'org', 'no',   'no',  'no',   'no',    'write'],
  listAuditEvents: ['no',  'org', 'no',   'no',  'no',   'no',    'read'],
  getOrganisation: ['no',  'org', 'no',   'no',  'no',   'no',    'read'],
  updateOrganisation: ['no', 'org', 'no', 'no', 'no', 'no', 'write'],
} as const satisfies Record<string, Row>

export type ProcedureName = keyof typeof accessTable

/** The subscriptions; every other procedure is called and answers once. */
export const streamNames = ['onRoomEvents', 'onInboxEvents', 'onUserEvents'] as const
export type StreamName = (typeof streamNames)[number]
export type CallName = Exclude<ProcedureName, StreamName>

function columnOf(actor: Actor): Column {
  switch (actor.kind) {
    case 'open':
      return 'open'
    case 'key':
      return actor.right
    case 'user':
      return actor.side ? 'supportToken' : 'customerToken'
  }
}

/** A proxy that nobody can see may stand before a server without keys: whoever comes through it must not make the first one. */
const NEEDS_KEY =
  'This needs an API key, in open mode too. Make the first one on the machine of the server, with "npm run cli -- keys create"'

/**
 * The rows that this caller may meet in this procedure. The operator at the command line may meet all of them.
 *
 * @throws AppError FORBIDDEN when it may not call it at all
 */
export function authorise(actor: Actor, procedure: ProcedureName): RoomScope {
  if (actor.kind === 'open' && actor.via === 'cli') return { orgId: allOrganisations }
  const row: Row = accessTable[procedure]
  const access = row[columns.indexOf(columnOf(actor))] as Access
  if (access === 'no') {
    throw new AppError('FORBIDDEN', actor.kind === 'open' ? { message: NEEDS_KEY } : {})
  }
  if (actor.kind === 'open') return { orgId: allOrganisations }
  if (actor.kind === 'key') return { orgId: actor.orgId }
  return {
    orgId: actor.orgId,
    userId: access === 'own' ? actor.userId : undefined,
    roomIds: actor.rooms && [...actor.rooms],
  }
}

/** @throws AppError NOT_FOUND for another organisation than the caller's, whether it exists or not */
export function requireOrganisation(scope: RoomScope, orgId: string): void {
  if (scope.orgId !== allOrganisations && scope.orgId !== orgId) {
    throw new AppError('NOT_FOUND', { message: 'There is no such organisation' })
  }
}

/** What a call costs, in points of a caller's budget. */
const weights: Record<Cost, number> = { read: 1, write: 2, mint: 20 }

/** Whether it only reads, and so may be answered with much. */
export function isRead(procedure: ProcedureName): boolean {
  return accessTable[procedure][columns.length] === 'read'
}

export function costOf(procedure: ProcedureName): number {
  return weights[accessTable[procedure][columns.length] as Cost]
}
