import { type Actor, actorKey } from '../../auth/actor.ts'
import { AppError, type ErrorCode } from '../../operation/errors.ts'

/** How many streams may be open at once in this process. 0: no limit. */
export interface StreamCaps {
  readonly total: number
  /** Per API key, and per user of the support team. */
  readonly perActor: number
  readonly perCustomer: number
  /** Customers and callers without a credential, per network address. */
  readonly perAddress: number
  readonly perOrganisation: number
  /** Percent of `total` and of `perOrganisation` that customers and callers without a credential cannot use. */
  readonly reserved: number
}

/** The caller of a stream. */
export interface StreamOwner {
  readonly actor: Actor
  /** The caller's network as rate limits count it; undefined: not counted by address. */
  readonly address: string | undefined
  readonly orgId: string
}

interface Cap {
  /** Names the counter. */
  readonly key: string
  readonly max: number
  readonly code: Extract<ErrorCode, 'TOO_MANY_REQUESTS' | 'SERVICE_UNAVAILABLE'>
  /** Completes "At most 20 streams may be open". */
  readonly where: string
}

const RETRY_AFTER_SECONDS = 10

/** Counts the open streams of this process under each cap. */
export class OpenStreams {
  readonly #caps: StreamCaps
  readonly #counts = new Map<string, number>()

  constructor(caps: StreamCaps) {
    this.#caps = caps
  }

  /**
   * Counts a stream. @returns a function that stops counting it; call it once
   *
   * @throws AppError TOO_MANY_REQUESTS; SERVICE_UNAVAILABLE for the caps of the whole process
   */
  take(owner: StreamOwner): () => void {
    const caps = capsOf(owner, this.#caps)
    const reached = caps.find(({ key, max }) => (this.#counts.get(key) ?? 0) >= max)
    if (reached) {
      throw new AppError(reached.code, {
        message: `At most ${reached.max} streams may be open ${reached.where}`,
        retryAfter: RETRY_AFTER_SECONDS,
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

/** The narrowest cap comes first: the error should name the one that the caller can act on. */
function capsOf({ actor, address, orgId }: StreamOwner, limits: StreamCaps): Cap[] {
  const { total, perAddress, perOrganisation } = limits
  const isCustomer = actor.kind === 'open' || (actor.kind === 'user' && !actor.side)
  const perCaller = isCustomer ? limits.perCustomer : limits.perActor
  const customerShareOf = (max: number) => max - Math.floor((max * limits.reserved) / 100)
  const caps: Cap[] = []
  const add = (key: string, max: number, where: string, code: Cap['code'] = 'TOO_MANY_REQUESTS') =>
    caps.push({ key, max, where, code })
  // Callers without a credential share one key, and may be many people.
  if (actor.kind !== 'open' && perCaller > 0) {
    const where = isCustomer ? 'for one customer' : 'for one key or user'
    add(`caller ${actorKey(actor)}`, perCaller, where)
  }
  // The whole support team may share one address, so it is not counted.
  if (isCustomer && address !== undefined && perAddress > 0) {
    add(`address ${address}`, perAddress, 'for the customers at one address')
  }
  if (perOrganisation > 0) {
    if (isCustomer) {
      const share = customerShareOf(perOrganisation)
      add(`customers of ${orgId}`, share, "for one organisation's customers")
    }
    add(`organisation ${orgId}`, perOrganisation, 'for one organisation')
  }
  if (total > 0) {
    if (isCustomer) {
      const share = customerShareOf(total)
      add('customers', share, 'for the customers on this server', 'SERVICE_UNAVAILABLE')
    }
    add('all', total, 'on this server', 'SERVICE_UNAVAILABLE')
  }
  return caps
}
