import { type Database, findEpochs, type LogEpochs } from '@dowell-chat/db'
import { AppError } from '../operation/errors.ts'
import type { CursorRef, PageRef } from './paging.ts'

/** A page without a cursor may give the epoch of up to this long ago. Its cursors are then refused too early, never too late. */
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

  /** Returns the epoch for the cursors of a page that was asked for without one; undefined for the first. */
  current(): Promise<string | undefined> {
    if (!this.#current || performance.now() - this.#readAt >= MAX_AGE_MS) {
      this.#readAt = performance.now()
      const reading = findEpochs(this.#db.read).then(pageEpochOf)
      this.#current = reading
      reading.catch(() => {
        if (this.#current === reading) this.#current = undefined
      })
    }
    return this.#current
  }

  /**
   * Returns the epoch for the cursors of a page, and checks the cursor of its request.
   *
   * @throws AppError CURSOR_TOO_OLD for a cursor of another epoch
   */
  async resolve(ref: PageRef): Promise<string | undefined> {
    return 'boundary' in ref
      ? checkCursorEpoch(ref, await findEpochs(this.#db.read))
      : this.current()
  }
}

/**
 * Checks the cursor of a request.
 *
 * @param log the epochs now
 * @returns the epoch for the cursors of its page; undefined for the first
 * @throws AppError CURSOR_TOO_OLD for a cursor of another epoch
 */
export function checkCursorEpoch(ref: CursorRef, log: LogEpochs): string | undefined {
  const epoch = pageEpochOf(log)
  if (ref.epoch !== epoch) throw cursorOfOtherEpoch()
  return epoch
}

export function cursorOfOtherEpoch(): AppError {
  return new AppError('CURSOR_TOO_OLD', {
    message: 'The cursor is from before the database was restored or failed over',
  })
}

/** The epoch as the cursors of pages have it. */
export function pageEpochOf(log: LogEpochs): string | undefined {
  return log.epoch === log.firstEpoch ? undefined : log.epoch
}
