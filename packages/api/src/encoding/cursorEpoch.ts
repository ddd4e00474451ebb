import { type Database, findEpochs } from '@dowell-chat/db'
import { AppError } from '../operation/errors.ts'
import type { PageRef } from './paging.ts'

/** New cursors may have the epoch of up to this long ago: a cursor that is too old is only refused later. */
const MAX_AGE_MS = 1_000

/**
 * The epoch of the cursors of pages. After a restore or a failover the same positions may be other items, so a cursor of
 * another epoch is refused. Cursors of the first epoch have none in their text.
 */
export class CursorEpoch {
  readonly #db: Database
  #current: Promise<string | undefined> | undefined
  #readAt = 0

  constructor(db: Database) {
    this.#db = db
  }

  /**
   * Checks the cursor of a request. Only a request with a cursor costs a read.
   *
   * @returns the epoch for the cursors of its page; undefined for the first
   * @throws AppError CURSOR_TOO_OLD for a cursor of another epoch
   */
  async resolve(ref: PageRef): Promise<string | undefined> {
    const isCurrent = this.#current && performance.now() - this.#readAt < MAX_AGE_MS
    if (ref.kind === 'newest' || ref.kind === 'aroundItem') {
      return isCurrent ? this.#current : this.#read()
    }
    const epoch = await this.#read()
    if (ref.epoch !== epoch) {
      throw new AppError('CURSOR_TOO_OLD', {
        message: 'The cursor is from before the database was restored or failed over',
      })
    }
    return epoch
  }

  #read(): Promise<string | undefined> {
    this.#readAt = performance.now()
    const reading = findEpochs(this.#db.read).then(pageEpochOf)
    this.#current = reading
    reading.catch(() => {
      if (this.#current === reading) this.#current = undefined
    })
    return reading
  }
}

/** The epoch as the cursors of pages have it. */
export function pageEpochOf(log: {
  readonly epoch: string
  readonly firstEpoch: string
}): string | undefined {
  return log.epoch === log.firstEpoch ? undefined : log.epoch
}
