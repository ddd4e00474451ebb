import type { ApiKeyRow } from '@dowell-chat/db'

/** Who is calling. */
export type Actor = OpenActor | KeyActor | UserActor

/** A caller who needs no credential: of a server in open mode, or the operator at the command line. */
export interface OpenActor {
  readonly kind: 'open'
  readonly via: 'http' | 'cli'
}

/** A server of the organisation's, with an API key. */
export interface KeyActor {
  readonly kind: 'key'
  readonly orgId: string
  readonly keyId: string
  readonly right: Right
}

export type Right = ApiKeyRow['access']

/** One person, with a token that was made for them. */
export interface UserActor {
  readonly kind: 'user'
  readonly orgId: string
  readonly userId: string
  /** False: a customer. True: one of the support team. */
  readonly side: boolean
  /** The only rooms that the token is for; undefined when it is not limited to any. */
  readonly rooms: ReadonlySet<string> | undefined
  /** The API key that asked for the token; undefined when it was made without one, as in open mode before: it ends with that. */
  readonly keyId: string | undefined
  /** Milliseconds since the Unix epoch. */
  readonly expiresAt: number
}

/** An actor as the audit log names it. */
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

/** Tells callers apart whatever signs their names are made of; all who need no credential are one. */
export function actorKey(actor: Actor): string {
  if (actor.kind === 'open') return 'open'
  return JSON.stringify([actor.orgId, auditName(actor), actor.kind === 'user' && actor.side])
}
