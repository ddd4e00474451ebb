import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { CompiledQuery, type Kysely } from 'kysely'
import type { OpenedDialect } from './dialect.ts'
import { DatabaseError } from './errors.ts'
import type { Tables } from './tables.ts'

/** A write's view of the database. Everything done through it is committed together, or not at all. */
export type Tx = Kysely<Tables>

export interface WriteQueueOptions {
  /** Writes that may wait at once; one more is refused with `overloaded`. */
  readonly maxWaiting: number
  /** How long, in milliseconds, a write waits for another process to let go of the write lock. */
  readonly busyTimeout: number
}

interface Job {
  run(tx: Tx): Promise<void>
  commit(): void
  fail(error: unknown): void
}

/** Writes that share a commit, at most. Keeps one batch from holding the lock for long. */
const MAX_BATCH = 256

const COMMIT = CompiledQuery.raw('commit')
const ROLLBACK = CompiledQuery.raw('rollback')
const SAVEPOINT = CompiledQuery.raw('savepoint one_write')
const RELEASE = CompiledQuery.raw('release savepoint one_write')
const ROLLBACK_TO = CompiledQuery.raw('rollback to savepoint one_write')

/**
 * How a write happens. Writes that arrive in one turn of the event loop share one transaction and so one sync to
 * disk, which is nearly all that a small write costs; each has a savepoint of its own, so one that fails takes nothing
 * with it. None is answered before the commit. A write that comes alone starts at once: nothing waits for company.
 */
export class WriteQueue {
  readonly #db: Kysely<Tables>
  readonly #begin: CompiledQuery
  readonly #isBusy: OpenedDialect['isBusy']
  readonly #options: WriteQueueOptions
  #waiting: Job[] = []
  #draining: Promise<void> | undefined
  #closed = false

  constructor(
    db: Kysely<Tables>,
    dialect: Pick<OpenedDialect, 'beginWrite' | 'isBusy'>,
    options: WriteQueueOptions,
  ) {
    this.#db = db
    this.#begin = CompiledQuery.raw(dialect.beginWrite)
    this.#isBusy = dialect.isBusy
    this.#options = options
  }

  /**
   * Runs `job` in a write transaction and resolves with its result once that is durable.
   *
   * `job` must touch nothing but `tx`: when it throws, its writes are undone and the error is passed on.
   *
   * @throws DatabaseError `overloaded`, `busy` or `closed`; in all three nothing was written
   */
  write<T>(job: (tx: Tx) => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#closed) {
        throw new DatabaseError('closed', 'the database is closed')
      }
      if (this.#waiting.length >= this.#options.maxWaiting) {
        throw new DatabaseError('overloaded', 'too many writes are waiting')
      }
      let result: T
      this.#waiting.push({
        run: async (tx) => {
          result = await job(tx)
        },
        commit: () => resolve(result),
        fail: reject,
      })
      this.#draining ??= this.#drain()
    })
  }

  /** Runs `job` alone in a transaction, for schema changes: no savepoint, no company. */
  async exclusive(job: (tx: Tx) => Promise<void>): Promise<void> {
    await this.#db.connection().execute(async (tx) => {
      await this.#beginWrite(tx)
      try {
        await job(tx)
        await tx.executeQuery(COMMIT)
      } catch (error) {
        await rollback(tx)
        throw error
      }
    })
  }

  /** Finishes what is waiting, then refuses new writes. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#draining
  }

  async #drain(): Promise<void> {
    // The end of this turn: whatever else arrived with the same burst of requests shares the commit.
    await turn()
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, MAX_BATCH)
      await this.#runBatch(batch)
      await turn()
    }
    this.#draining = undefined
  }

  async #runBatch(batch: readonly Job[]): Promise<void> {
    const done: Job[] = []
    try {
      await this.#db.connection().execute(async (tx) => {
        await this.#beginWrite(tx)
        try {
          for (const job of batch) {
            await tx.executeQuery(SAVEPOINT)
            try {
              await job.run(tx)
              await tx.executeQuery(RELEASE)
              done.push(job)
            } catch (error) {
              await tx.executeQuery(ROLLBACK_TO)
              await tx.executeQuery(RELEASE)
              job.fail(error)
            }
          }
          await tx.executeQuery(COMMIT)
        } catch (error) {
          await rollback(tx)
          throw error
        }
      })
    } catch (error) {
      // Nothing was committed. A job that failed by itself was told so already; telling it again does nothing.
      for (const job of batch) job.fail(error)
      return
    }
    for (const job of done) job.commit()
  }

  async #beginWrite(tx: Tx): Promise<void> {
    const deadline = performance.now() + this.#options.busyTimeout
    for (let attempt = 1; ; attempt++) {
      try {
        await tx.executeQuery(this.#begin)
        return
      } catch (error) {
        if (!this.#isBusy(error)) throw error
        if (performance.now() >= deadline) {
          throw new DatabaseError('busy', 'another process holds the database', { cause: error })
        }
        // Waiting here, and not in SQLite's own busy handler, leaves the event loop free for readers.
        await sleep(Math.min(100, 2 ** attempt) * (0.5 + Math.random() / 2))
      }
    }
  }
}

/** A failed statement may have ended the transaction already (a full disk does): then there is nothing to undo. */
async function rollback(tx: Tx): Promise<void> {
  try {
    await tx.executeQuery(ROLLBACK)
  } catch {
    // No transaction is open, so none can be committed by mistake.
  }
}
