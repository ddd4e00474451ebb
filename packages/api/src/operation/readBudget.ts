import { setImmediate as nextTurn } from 'node:timers/promises'
import { AppError } from './errors.ts'

/** Maximum bytes of all outputs of the reads in one request. The last one may exceed it by one page. */
export const REQUEST_BYTES = 2 * 1024 * 1024

/** After an output of this size the next read waits for the next turn of the event loop. */
const LARGE_BYTES = 64 * 1024

/** Runs the reads of one request one after another, until the budget of bytes is spent. */
export class ReadBudget {
  #left = REQUEST_BYTES
  #last: Promise<unknown> = Promise.resolve()

  /**
   * Runs `read` after the earlier reads.
   *
   * @param bytesOf returns the size of an output
   * @throws AppError TOO_MANY_REQUESTS if the earlier outputs spent the budget; then `read` is not called
   */
  run<Output>(read: () => Promise<Output>, bytesOf: (output: Output) => number): Promise<Output> {
    const output = this.#last.then(() => this.#runNext(read, bytesOf))
    this.#last = output.catch(() => undefined)
    return output
  }

  async #runNext<Output>(
    read: () => Promise<Output>,
    bytesOf: (output: Output) => number,
  ): Promise<Output> {
    if (this.#left <= 0) {
      throw new AppError('TOO_MANY_REQUESTS', {
        message: 'The responses of this batch are too large together; send this call alone',
        retryAfter: 1,
      })
    }
    const output = await read()
    const bytes = bytesOf(output)
    this.#left -= bytes
    if (bytes >= LARGE_BYTES) await nextTurn()
    return output
  }
}
