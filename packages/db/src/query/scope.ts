import type { Expression, ExpressionBuilder } from 'kysely'
import type { Tables } from '../tables.ts'

/** Stands in for an organisation's id where a caller may act for every organisation. */
export const allOrganisations: unique symbol = Symbol('all organisations')

/**
 * The organisations whose rows a query may use. Every query takes one, so a forgotten organisation does not compile. Only
 * the symbol itself means all, so a missing value matches no rows.
 */
export type OrgScope = string | typeof allOrganisations

/** The rooms that exist for a caller. Any other room behaves like a missing one in every statement. */
export interface RoomScope {
  readonly orgId: OrgScope
  /** If set, only the rooms of this user. */
  readonly userId?: string | undefined
  /** If set, only these rooms. Keep it short: a list looks each one up. */
  readonly roomIds?: readonly string[] | undefined
}

export type OneRoom = RoomScope & { readonly roomId: string }

/** The parameters of a query about one room, besides the organisation. */
export interface RoomScopeParams {
  readonly roomId: string
  /** Null: the rooms of any user. */
  readonly userId: string | null
  /** 0 if the scope lists other rooms only. */
  readonly isListed: 0 | 1
}

export function scopeParams({
  orgId,
  userId,
  roomIds,
  roomId,
}: OneRoom): RoomScopeParams & { orgId: OrgScope } {
  const isListed = roomIds === undefined || roomIds.includes(roomId) ? 1 : 0
  return { orgId, roomId, userId: userId ?? null, isListed }
}

/** One text for every scope, so a room outside of it takes as long as a missing one. */
export function whereRoomInScope(
  eb: ExpressionBuilder<Tables, 'rooms'>,
  params: { readonly [K in keyof RoomScopeParams]: Expression<RoomScopeParams[K]> },
  orgId: Expression<string> | undefined,
) {
  return eb.and([
    eb('id', '=', params.roomId),
    eb('user_id', '=', eb.fn.coalesce(params.userId, 'user_id')),
    eb(params.isListed, '=', eb.lit(1)),
    ...(orgId === undefined ? [] : [eb('org_id', '=', orgId)]),
  ])
}
