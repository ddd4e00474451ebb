import { setImmediate as turn } from 'node:timers/promises'
import { AppError } from './errors.ts'

/** Bytes that the answers of the reads in one request may have together. The last one may go beyond it by one page. */
export const REQUEST_BYTES = 2 * 1024 * 1024

/** After an answer of so many bytes others have their turn of the event loop. */
const LARGE_BYTES = 64 * 1024

/** Runs the reads of one request one after another, until their answers are too large together. */
export class ReadBudget {
  #left = REQUEST_BYTES
  #last: Promise<unknown> = Promise.resolve()

  /**
   * Runs `read` when the reads before it are done.
   *
   * @param bytesOf how large its answer is
   * @throws AppError TOO_MANY_REQUESTS when the answers before it were too large together; it is not run then
   */
  run<Answer>(read: () => Promise<Answer>, bytesOf: (answer: Answer) => number): Promise<Answer> {
    const answer = this.#last.then(() => this.#take(read, bytesOf))
    this.#last = answer.catch(() => undefined)
    return answer
  }

  async #take<Answer>(
    read: () => Promise<Answer>,
    bytesOf: (answer: Answer) => number,
  ): Promise<Answer> {
    if (this.#left <= 0) {
      throw new AppError('TOO_MANY_REQUESTS', {
        message: 'The answers of this batch are too large together; send this call by itself',
        retryAfter: 1,
      })
    }
    const answer = await read()
    const bytes = bytesOf(answer)
    this.#left -= bytes
    if (bytes >= LARGE_BYTES) await turn()
    return answer
  }
}
