import { anyOrganisation, type OrgScope } from '@dowell-chat/db'

/** Who is calling. */
export type Actor = OpenActor

/** The caller of a server in open mode, where the documented requests carry no credentials: may do everything. */
export interface OpenActor {
  readonly kind: 'open'
}

/** The organisations whose rows this caller may meet. */
export function scopeOf(_actor: Actor): OrgScope {
  return anyOrganisation
}
