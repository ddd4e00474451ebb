import { AppError } from '@dowell-chat/api'
import pLimit, { type LimitFunction } from 'p-limit'
import type { HttpRequest } from '../core/request.ts'

/** Requests of one customer that are served at once. It bounds the memory that they use. */
const MAX_ENTERED = 8

/** Requests of one customer that may wait for others of theirs. */
const MAX_WAITING = 100

/**
 * The pause after a possibly large call of a customer, for each point that its bytes cost. A point is less than half a
 * millisecond of a core, so large calls of one customer take a thirtieth of it.
 */
export const PAUSE_PER_POINT_MS = 14

/** Queues the requests of each customer, so that one customer blocks neither the event loop nor much memory. */
export interface Turns {
  /**
   * Resolves when fewer than {@link MAX_ENTERED} requests of this customer are served. The request counts until its reply
   * was handed to the system.
   *
   * @throws AppError TOO_MANY_REQUESTS when too many are waiting
   */
  enter(customer: string, request: Pick<HttpRequest, 'whenSent'>): Promise<void>
  /**
   * Resolves when no other call of this customer and this size runs. The call runs until its reply is made, and for a pause
   * after that. A small write does not wait for a large read.
   *
   * @param points what the bytes of request and reply cost; read when the reply is made
   */
  work(
    customer: string,
    size: CallSize,
    request: Pick<HttpRequest, 'served'>,
    points: () => number,
  ): Promise<void>
}

/** A read may be large, and so may a call with a large body. */
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
        entered: pLimit(MAX_ENTERED),
        working: { small: pLimit(1), 'perhaps large': pLimit(1) },
      }
      customers.set(key, customer)
    }
    return customer
  }

  /** Resolves when `queue` starts a turn, which ends with `until`. */
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
    async enter(key, request) {
      const { entered } = find(key)
      if (entered.pendingCount >= MAX_WAITING) {
        throw new AppError('TOO_MANY_REQUESTS', {
          message: `At most ${MAX_WAITING} requests of one customer may wait`,
          retryAfter: 1,
        })
      }
      await begin(key, entered, () => request.whenSent())
    },
    async work(key, size, request, points) {
      await begin(key, find(key).working[size], async () => {
        // The response's events would not do: they wait for pipelined replies, and come early when the client leaves.
        await request.served
        await delay(points() * PAUSE_PER_POINT_MS)
      })
    },
  }
}

/** Resolves after a delay, which keeps no process alive. */
export async function delay(ms: number): Promise<void> {
  if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms).unref())
}
