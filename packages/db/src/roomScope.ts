import type { Expression, ExpressionBuilder } from 'kysely'
import type { Slots } from './prepared.ts'
import type { OrgScope } from './scope.ts'
import type { Tables } from './tables.ts'

/** The rooms that exist for a caller. Every other room is no different, in any statement, from one that never was. */
export interface RoomScope {
  readonly orgId: OrgScope
  /** Set: only the rooms of this user. */
  readonly userId?: string | undefined
  /** Set: only these rooms; a few, since in a list each is a lookup of its own. */
  readonly roomIds?: readonly string[] | undefined
}

export type OneRoom = RoomScope & { readonly roomId: string }

/** What the queries of one room are filled in with, besides the organisation. */
export interface InScope {
  readonly roomId: string
  /** Null: the rooms of any user. */
  readonly userId: string | null
  /** 0 when the scope is limited to other rooms. */
  readonly isListed: 0 | 1
}

export function parametersOf({
  orgId,
  userId,
  roomIds,
  roomId,
}: OneRoom): InScope & { orgId: OrgScope } {
  const isListed = roomIds === undefined || roomIds.includes(roomId) ? 1 : 0
  return { orgId, roomId, userId: userId ?? null, isListed }
}

/** One text for every scope, so that a room beyond it takes as long as one that is missing. */
export function inScope(
  eb: ExpressionBuilder<Tables, 'rooms'>,
  where: Slots<InScope>,
  orgId: Expression<string> | undefined,
) {
  return eb.and([
    eb('id', '=', where.roomId),
    eb('user_id', '=', eb.fn.coalesce(where.userId, 'user_id')),
    eb(where.isListed, '=', eb.lit(1)),
    ...(orgId === undefined ? [] : [eb('org_id', '=', orgId)]),
  ])
}
