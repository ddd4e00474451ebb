import { type Actor, actorKey } from '../../auth/actor.ts'
import { AppError, type ErrorCode } from '../../operation/errors.ts'

/** How many streams may be open at once in this process. 0: no limit. */
export interface StreamCaps {
  readonly total: number
  /** Of one API key, or one user of the support team. */
  readonly perActor: number
  readonly perCustomer: number
  /** Of customers and callers without a credential at one network address. */
  readonly perAddress: number
  readonly perOrganisation: number
  /** The part of `total` and of `perOrganisation` that those cannot take, in percent. */
  readonly reserved: number
}

/** Who opens a stream, and of what. */
export interface StreamOwner {
  readonly actor: Actor
  /** The caller's network, as the budgets of requests know it; undefined: not counted by address. */
  readonly address: string | undefined
  readonly orgId: string
}

/** One cap that a stream falls under. */
interface Cap {
  /** What is counted. */
  readonly key: string
  readonly max: number
  readonly code: Extract<ErrorCode, 'TOO_MANY_REQUESTS' | 'SERVICE_UNAVAILABLE'>
  /** Completes "At most 20 streams may be open". */
  readonly where: string
}

/** Seconds after which a place may be free. */
const RETRY_AFTER = 10

/** Counts the open streams of this process under each cap. */
export class OpenStreams {
  readonly #caps: StreamCaps
  readonly #counts = new Map<string, number>()

  constructor(caps: StreamCaps) {
    this.#caps = caps
  }

  /**
   * Takes a place for a stream. @returns what frees it
   *
   * @throws AppError TOO_MANY_REQUESTS; SERVICE_UNAVAILABLE for the process's own caps
   */
  take(owner: StreamOwner): () => void {
    const caps = capsOf(owner, this.#caps)
    const full = caps.find(({ key, max }) => (this.#counts.get(key) ?? 0) >= max)
    if (full) {
      throw new AppError(full.code, {
        message: `At most ${full.max} streams may be open ${full.where}`,
        retryAfter: RETRY_AFTER,
      })
    }
    for (const { key } of caps) this.#add(key, 1)
    return () => {
      for (const { key } of caps) this.#add(key, -1)
    }
  }

  #add(key: string, change: 1 | -1): void {
    const count = (this.#counts.get(key) ?? 0) + change
    if (count === 0) this.#counts.delete(key)
    else this.#counts.set(key, count)
  }
}

/** The narrowest first, so that a caller is told of the one that they can do most about. */
function capsOf({ actor, address, orgId }: StreamOwner, limits: StreamCaps): Cap[] {
  const { total, perAddress, perOrganisation } = limits
  const isCustomer = actor.kind === 'open' || (actor.kind === 'user' && !actor.side)
  const perCaller = isCustomer ? limits.perCustomer : limits.perActor
  const shareOf = (max: number) => max - Math.floor((max * limits.reserved) / 100)
  const caps: Cap[] = []
  const add = (key: string, max: number, where: string, code: Cap['code'] = 'TOO_MANY_REQUESTS') =>
    caps.push({ key, max, where, code })
  // Callers without a credential are many people under one name.
  if (actor.kind !== 'open' && perCaller > 0) {
    const where = isCustomer ? 'for one customer' : 'for one key or user'
    add(`caller ${actorKey(actor)}`, perCaller, where)
  }
  // Not for the support team, all of which may sit behind one address.
  if (isCustomer && address !== undefined && perAddress > 0) {
    add(`address ${address}`, perAddress, 'for the customers at one address')
  }
  if (perOrganisation > 0) {
    if (isCustomer) {
      const share = shareOf(perOrganisation)
      add(`customers of ${orgId}`, share, "for one organisation's customers")
    }
    add(`organisation ${orgId}`, perOrganisation, 'for one organisation')
  }
  if (total > 0) {
    if (isCustomer)
      add('customers', shareOf(total), 'for the customers on this server', 'SERVICE_UNAVAILABLE')
    add('all', total, 'on this server', 'SERVICE_UNAVAILABLE')
  }
  return caps
}
