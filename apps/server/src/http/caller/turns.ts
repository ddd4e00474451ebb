import { AppError } from '@dowell-chat/api'
import pLimit, { type LimitFunction } from 'p-limit'
import type { Outgoing } from '../core/request.ts'

/** Requests of one customer that are served at once: what they take in memory is bounded by that. */
const AT_ONCE = 8

/** Requests of one customer that may wait until others of theirs are sent. */
const MAX_WAITING = 100

/**
 * How long the next call of a customer that may be large waits for each point that the bytes of the one before cost, in
 * milliseconds. A point is less than half a millisecond of a core: large calls of one customer take a thirtieth of it.
 */
export const PAUSE_PER_POINT_MS = 14

/** Lets the requests of one customer take turns, so that they leave the event loop and the memory to everybody else. */
export interface Turns {
  /**
   * Waits until fewer than {@link AT_ONCE} requests of this customer are served. This one counts until its answer was
   * handed to the system.
   *
   * @throws AppError TOO_MANY_REQUESTS when too many wait already
   */
  enter(customer: string, res: Outgoing): Promise<void>
  /**
   * Waits until no call of this customer and this size is at work. This one is until its answer is made, and then for a
   * pause. A message is sent while a large page is read.
   *
   * @param points what the bytes of the request and its answer have cost; asked when the answer is made
   */
  work(customer: string, size: CallSize, res: Outgoing, points: () => number): Promise<void>
}

/** A read may be large, and so may what has a large body. */
export type CallSize = 'small' | 'perhaps large'

interface Customer {
  readonly entered: LimitFunction
  readonly working: Readonly<Record<CallSize, LimitFunction>>
}

export function createTurns(): Turns {
  const customers = new Map<string, Customer>()

  function find(key: string): Customer {
    let customer = customers.get(key)
    if (!customer) {
      customer = {
        entered: pLimit(AT_ONCE),
        working: { small: pLimit(1), 'perhaps large': pLimit(1) },
      }
      customers.set(key, customer)
    }
    return customer
  }

  /** Resolves when `queue` begins a turn, which lasts as long as `until` says. */
  function begin(key: string, queue: LimitFunction, until: () => Promise<void>): Promise<void> {
    return new Promise((begun) => {
      void queue(() => {
        begun()
        return until()
      }).then(() => {
        const { entered, working } = find(key)
        const queues = [entered, ...Object.values(working)]
        const isIdle = queues.every((one) => one.activeCount + one.pendingCount === 0)
        if (isIdle) customers.delete(key)
      })
    })
  }

  return {
    async enter(key, res) {
      const { entered } = find(key)
      if (entered.pendingCount >= MAX_WAITING) {
        throw new AppError('TOO_MANY_REQUESTS', {
          message: `At most ${MAX_WAITING} requests of one customer may wait`,
          retryAfter: 1,
        })
      }
      await begin(key, entered, () => sent(res))
    },
    async work(key, size, res, points) {
      await begin(key, find(key).working[size], async () => {
        // Not by the response's own events: those of a pipelined request wait for the one before, and a client may leave.
        await res.locals.served
        await delay(points() * PAUSE_PER_POINT_MS)
      })
    },
  }
}

/** Resolves after so many milliseconds. Keeps no process alive. */
export async function delay(ms: number): Promise<void> {
  if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms).unref())
}

/** Resolves when the request was served and its answer handed to the system, or the client has left. */
async function sent(res: Outgoing): Promise<void> {
  await res.locals.served
  if (res.writableFinished || res.closed) return
  await new Promise<void>((resolve) => {
    res.once('finish', resolve)
    res.once('close', resolve)
  })
}
