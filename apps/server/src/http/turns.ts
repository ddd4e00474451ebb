import { AppError } from '@dowell-chat/api'
import pLimit, { type LimitFunction } from 'p-limit'
import type { Outgoing } from './exchange.ts'

/** Requests of one customer that are served at once: what their answers take in memory is bounded by that. */
const AT_ONCE = 8

/** Requests of one customer that may wait for their turn. */
const MAX_WAITING = 100

/**
 * Lets the requests of one customer have their turns, so that no one of them holds the event loop or the memory of all.
 *
 * @returns what waits for a turn, which lasts until the answer is handed to the system
 * @throws AppError TOO_MANY_REQUESTS when too many wait already
 */
export function createTurns(): (key: string, res: Outgoing) => Promise<void> {
  const queues = new Map<string, LimitFunction>()
  return async (key, res) => {
    const queue = queues.get(key) ?? pLimit(AT_ONCE)
    queues.set(key, queue)
    if (queue.pendingCount >= MAX_WAITING) {
      throw new AppError('TOO_MANY_REQUESTS', {
        message: `At most ${MAX_WAITING} requests of one customer may wait`,
        retryAfter: 1,
      })
    }
    await new Promise<void>((begin) => {
      const turn = queue(() => {
        begin()
        return sent(res)
      })
      void turn.then(() => {
        if (queue.activeCount + queue.pendingCount === 0) queues.delete(key)
      })
    })
  }
}

/** Resolves when the whole answer was handed to the system, or the client has left. */
function sent(res: Outgoing): Promise<void> {
  return new Promise((resolve) => {
    if (res.writableFinished || res.closed) resolve()
    res.once('finish', resolve)
    res.once('close', resolve)
  })
}
