import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { CompiledQuery, type Kysely } from 'kysely'
import type { OpenedDialect } from './dialect.ts'
import { DatabaseError } from './errors.ts'
import { type NewEvent, writeEvents } from './queries/events.ts'
import { withShortWay } from './shortWay.ts'
import type { Tables } from './tables.ts'

/** A write's view of the database. Everything done through it is committed together, or not at all. */
export type Tx = Kysely<Tables>

export interface WriteQueueOptions {
  /** Writes that may wait at once; one more is refused with `overloaded`. */
  readonly maxWaiting: number
  /** How long, in milliseconds, a write may have waited when another process still holds the write lock. */
  readonly busyTimeout: number
}

interface Job {
  /** When, by `performance.now()`, it has waited long enough for another process. */
  readonly deadline: number
  /** @returns what tells the caller of the result; to be called when that is durable */
  run(tx: Tx): Promise<() => void>
  fail(error: unknown): void
}

/** Writes that share a commit, at most. Keeps one batch from holding the lock for long. */
const MAX_BATCH = 256

/** What the jobs of a batch append to the event log. It is written at the end of their transaction. */
const appended = new WeakMap<Tx, NewEvent[]>()

/**
 * Appends to the event log, in the transaction of what it tells. Positions are given when all writes that share the
 * transaction are done: the lock on an organisation's log, which puts its commits in order, is held no longer than that.
 */
export function appendEvent(tx: Tx, event: NewEvent): void {
  const events = appended.get(tx)
  if (!events) throw new Error('events are appended in a write')
  events.push(event)
}

const COMMIT = CompiledQuery.raw('commit')
const ROLLBACK = CompiledQuery.raw('rollback')
const SAVEPOINT = CompiledQuery.raw('savepoint one_write')
const RELEASE = CompiledQuery.raw('release savepoint one_write')
const ROLLBACK_TO = CompiledQuery.raw('rollback to savepoint one_write')

/** A statement of this job ended the whole transaction: SQLite does so when the disk is full or cannot be read. */
class TransactionEnded extends Error {
  readonly job: Job

  constructor(job: Job, cause: unknown) {
    super('a write ended the transaction that it shared', { cause })
    this.job = job
  }
}

/**
 * How a write happens. Writes that arrive in one turn of the event loop share one transaction and so one sync to
 * disk, which is nearly all that a small write costs; each has a savepoint of its own, so one that fails takes nothing
 * with it. None is answered before the commit. A write that comes alone starts at once: nothing waits for company.
 */
export class WriteQueue {
  readonly #db: Kysely<Tables>
  readonly #begin: CompiledQuery
  readonly #isBusy: OpenedDialect['isBusy']
  readonly #writeNow: OpenedDialect['writeNow']
  readonly #options: WriteQueueOptions
  readonly #listeners = new Set<(orgIds: ReadonlySet<string>) => void>()
  #waiting: Job[] = []
  #draining: Promise<void> | undefined
  #closed = false

  constructor(
    db: Kysely<Tables>,
    dialect: Pick<OpenedDialect, 'beginWrite' | 'isBusy' | 'writeNow'>,
    options: WriteQueueOptions,
  ) {
    this.#db = db
    this.#begin = CompiledQuery.raw(dialect.beginWrite)
    this.#isBusy = dialect.isBusy
    this.#writeNow = dialect.writeNow
    this.#options = options
  }

  /**
   * Runs `job` in a write transaction and resolves with its result once that is durable.
   *
   * `job` must touch nothing but `tx`: when it throws, its writes are undone and the error is passed on. It may run more
   * than once, when another write ends the transaction that they share; only what the last run did is kept.
   *
   * `job` must await every statement, and must not go on after one that failed. All writes share one connection: a
   * statement that is still to run when `job` returns lands in another write or outside of any, and what follows a failed
   * one may find no transaction to belong to.
   *
   * @throws DatabaseError `overloaded`, `busy` or `closed`; in all three nothing was written
   */
  write<T>(job: (tx: Tx) => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#refuseWhenClosed()
      if (this.#waiting.length >= this.#options.maxWaiting) {
        throw new DatabaseError('overloaded', 'too many writes are waiting')
      }
      this.#waiting.push({
        deadline: this.#deadline(),
        run: async (tx) => {
          const result = await job(tx)
          return () => resolve(result)
        },
        fail: reject,
      })
      this.#draining ??= this.#drain()
    })
  }

  /**
   * Calls `listener` after each commit that appended events, with the organisations whose log grew. What it throws becomes
   * a warning of the process: the writes are on the disk whatever their listeners make of it.
   */
  onEvents(listener: (orgIds: ReadonlySet<string>) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Runs `job` alone in a transaction, for schema changes: no savepoint, no company. */
  async exclusive(job: (tx: Tx) => Promise<void>): Promise<void> {
    this.#refuseWhenClosed()
    await this.#db.connection().execute(async (tx) => {
      const deadline = this.#deadline()
      await this.#beginWrite(tx, (busy) => {
        if (performance.now() >= deadline) throw busy
      })
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
      await this.#runBatch()
      await turn()
    }
    this.#draining = undefined
  }

  async #runBatch(): Promise<void> {
    let batch: Job[] = []
    const answers: (() => void)[] = []
    const events: NewEvent[] = []
    try {
      await this.#db.connection().execute(async (connection) => {
        const tx = withShortWay(connection, this.#writeNow)
        try {
          await this.#beginWrite(tx, (busy) => this.#failOverdue(busy))
        } finally {
          // Not before there is a lock: whoever comes while it is waited for shares the commit.
          batch = this.#waiting.splice(0, MAX_BATCH)
        }
        appended.set(tx, events)
        try {
          for (const job of batch) answers.push(await this.#runOne(tx, job, events))
          await writeEvents(tx, events)
          await tx.executeQuery(COMMIT)
        } catch (error) {
          await rollback(tx)
          throw error
        } finally {
          // An event that comes later would be lost without a word.
          appended.delete(tx)
        }
      })
    } catch (error) {
      // Nothing was committed.
      if (error instanceof TransactionEnded) {
        error.job.fail(error.cause)
        this.#waiting.unshift(...batch.filter((job) => job !== error.job))
      } else {
        for (const job of batch) job.fail(error)
      }
      return
    }
    for (const answer of answers) answer()
    if (events.length > 0) this.#tellOf(events)
  }

  #tellOf(events: readonly NewEvent[]): void {
    const orgIds = new Set(events.map((event) => event.org_id))
    for (const listener of this.#listeners) {
      try {
        listener(orgIds)
      } catch (error) {
        process.emitWarning(new Error('a listener to the event log failed', { cause: error }))
      }
    }
  }

  /** A failure too is told after the commit only: it may come of what an earlier job of the batch wrote. */
  async #runOne(tx: Tx, job: Job, events: NewEvent[]): Promise<() => void> {
    const before = events.length
    await tx.executeQuery(SAVEPOINT)
    try {
      const answer = await job.run(tx)
      await tx.executeQuery(RELEASE)
      return answer
    } catch (error) {
      events.length = before
      try {
        await tx.executeQuery(ROLLBACK_TO)
        await tx.executeQuery(RELEASE)
      } catch {
        throw new TransactionEnded(job, error)
      }
      return () => job.fail(error)
    }
  }

  #refuseWhenClosed(): void {
    if (this.#closed) throw new DatabaseError('closed', 'the database is closed')
  }

  #deadline(): number {
    return performance.now() + this.#options.busyTimeout
  }

  /** Tells those whose time is over, each by its own; throws when nobody waits any more. */
  #failOverdue(busy: DatabaseError): void {
    const now = performance.now()
    // Who came first stands first.
    const first = this.#waiting.findIndex((job) => job.deadline > now)
    const overdue = this.#waiting.splice(0, first === -1 ? this.#waiting.length : first)
    for (const job of overdue) job.fail(busy)
    if (this.#waiting.length === 0) throw busy
  }

  /** Takes the write lock. `onBusy` is told whenever another process has it, and throws to give up. */
  async #beginWrite(tx: Tx, onBusy: (busy: DatabaseError) => void): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await tx.executeQuery(this.#begin)
        return
      } catch (error) {
        if (!this.#isBusy(error)) throw error
        onBusy(new DatabaseError('busy', 'another process holds the database', { cause: error }))
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
