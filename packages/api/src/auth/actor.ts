import type { ApiKeyRow } from '@dowell-chat/db'

/** The authenticated caller. */
export type Actor = OpenActor | KeyActor | UserActor

/** The token that a caller presented, by what can end it. */
export interface TokenRef {
  /** The id of the key that signed it. */
  readonly signingKeyId: string
  /** Seconds since the Unix epoch. */
  readonly issuedAt: number
}

/** A caller without a credential: over HTTP in open mode, or the operator at the command line. */
export interface OpenActor {
  readonly kind: 'open'
  readonly via: 'http' | 'cli'
  /** The stream token of open mode. */
  readonly token?: TokenRef
}

/** A backend of the organisation, with an API key. */
export interface KeyActor {
  readonly kind: 'key'
  readonly orgId: string
  readonly keyId: string
  readonly right: Right
  /** The stream token that the key issued for its own use. */
  readonly token?: TokenRef
}

export type Right = ApiKeyRow['access']

/** One person, with a user token. */
export interface UserActor {
  readonly kind: 'user'
  readonly orgId: string
  readonly userId: string
  /** False: a customer. True: one of the support team. */
  readonly side: boolean
  /** The only rooms that the token gives access to; undefined: all rooms of the role. */
  readonly rooms: ReadonlySet<string> | undefined
  /** The API key that issued the token; undefined for a token issued without one, which is valid in open mode only. */
  readonly keyId: string | undefined
  /** Milliseconds since the Unix epoch. */
  readonly expiresAt: number
  /** The user token, also behind a stream token. */
  readonly token: TokenRef
}

/** Whether the caller is a customer with a user token. */
export function isCustomer(actor: Actor): actor is UserActor {
  return actor.kind === 'user' && !actor.side
}

/** Names an actor for the audit log. */
export function auditName(actor: Actor): string {
  switch (actor.kind) {
    case 'open':
      return actor.via === 'cli' ? 'cli' : 'open'
    case 'key':
      return `key:${actor.keyId}`
    case 'user':
      return `user:${actor.userId}`
  }
}

/** A key that is unique per caller, whatever characters the ids contain. Callers without a credential share one. */
export function actorKey(actor: Actor): string {
  if (actor.kind === 'open') return 'open'
  return JSON.stringify([actor.orgId, auditName(actor), actor.kind === 'user' && actor.side])
}
