import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { CompiledQuery, type Kysely } from 'kysely'
import type { OpenedDialect, RunNow } from './dialect.ts'
import { DatabaseError } from './errors.ts'
import { type NewEvent, writeEvents } from './queries/events.ts'
import { withOwnConnection } from './shortWay.ts'
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
  /** How often it was run and lost against another transaction, or its connection. */
  losses: number
  /** Whether one of those was a unique violation. */
  hasCollided: boolean
  /** @returns what tells the caller of the result; to be called when that is durable */
  run(tx: Tx): Promise<() => void>
  fail(error: unknown): void
}

/** Writes that share a commit, at most. Keeps one batch from holding the lock for long. */
const MAX_BATCH = 256

/** How often a write is run that loses against others. */
const MAX_RUNS = 5

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

type QueueDialect = Omit<
  OpenedDialect,
  'reader' | 'writer' | 'migrator' | 'location' | 'openLine' | 'check' | 'close' | 'isOutdated'
>

/** This job ended the whole transaction: it had no savepoint, or a statement of it did so, as on a full disk. */
class TransactionEnded extends Error {
  readonly job: Job

  constructor(job: Job, cause: unknown) {
    super('a write ended the transaction that it shared', { cause })
    this.job = job
  }
}

/**
 * The savepoints of the writes that share a transaction. PostgreSQL is told of them without waiting for its answers, each
 * of which would be a way to the server and back: a write begins, although the one before may have failed to end well. What
 * comes of that is found out before anything is done about a failure, and before the commit.
 */
class Savepoints {
  readonly #tx: Tx
  readonly #runNow: RunNow | undefined
  #answered: Promise<unknown> | undefined
  #ended: TransactionEnded | undefined

  constructor(tx: Tx, runNow: RunNow | undefined) {
    this.#tx = tx
    this.#runNow = runNow
  }

  set(job: Job): void {
    this.#send(SAVEPOINT, job)
  }

  release(job: Job): void {
    this.#send(RELEASE, job)
  }

  /** Undoes what a job did. @throws TransactionEnded */
  async undo(job: Job, cause: unknown): Promise<void> {
    await this.settle()
    try {
      await this.#tx.executeQuery(ROLLBACK_TO)
      await this.#tx.executeQuery(RELEASE)
    } catch {
      throw new TransactionEnded(job, cause)
    }
  }

  /** Resolves when all that was sent is done. @throws TransactionEnded */
  async settle(): Promise<void> {
    await this.#answered
    if (this.#ended) throw this.#ended
  }

  #send(query: CompiledQuery, job: Job): void {
    if (this.#runNow) this.#runNow(query)
    else {
      this.#answered = this.#tx.executeQuery(query).catch((error) => {
        // What follows fails as well.
        this.#ended ??= new TransactionEnded(job, error)
      })
    }
  }
}

/**
 * How a write happens. Writes that arrive in one turn of the event loop share one transaction and so one sync to
 * disk, which is nearly all that a small write costs; each has a savepoint of its own, so one that fails takes nothing
 * with it. None is answered before the commit. A write that comes alone starts at once: nothing waits for company.
 *
 * On PostgreSQL other processes write at the same time. A shared transaction holds the locks of many writes, in no order,
 * and so does not wait for one of others: the write that would is put off, and runs alone, as does every write that lost.
 */
export class WriteQueue {
  readonly #db: Kysely<Tables>
  readonly #dialect: QueueDialect
  readonly #begin: CompiledQuery
  readonly #options: WriteQueueOptions
  readonly #listeners = new Set<(orgIds: ReadonlySet<string>) => void>()
  #waiting: Job[] = []
  readonly #draining = new Set<Promise<void>>()
  /** Of those, how many have not taken their writes yet. */
  #takers = 0
  #closed = false

  constructor(db: Kysely<Tables>, dialect: QueueDialect, options: WriteQueueOptions) {
    this.#db = db
    this.#dialect = dialect
    this.#begin = CompiledQuery.raw(dialect.beginWrite)
    this.#options = options
  }

  /**
   * Runs `job` in a write transaction and resolves with its result once that is durable.
   *
   * `job` must touch nothing but `tx`: when it throws, its writes are undone and the error is passed on. It may run more
   * than once, when another write ends the transaction that they share; only what the last run did is kept.
   *
   * `job` must await every statement, must not go on after one that failed, and must leave the transaction to this queue.
   * All writes share one connection: a statement that is still to run when `job` returns lands in another write or outside of
   * any, and what follows a failed one, or the end of the transaction, may find none to belong to.
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
        losses: 0,
        hasCollided: false,
        run: async (tx) => {
          const result = await job(tx)
          return () => resolve(result)
        },
        fail: reject,
      })
      this.#startDraining()
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

  /** Runs `job` alone in a transaction of `db` that `begin` starts: no savepoint, no company. */
  async exclusive<T>(db: Kysely<Tables>, begin: string, job: (tx: Tx) => Promise<T>): Promise<T> {
    this.#refuseWhenClosed()
    return db.connection().execute(async (tx) => {
      const deadline = this.#deadline()
      try {
        await this.#beginLocked(tx, CompiledQuery.raw(begin), (busy) => {
          if (performance.now() >= deadline) throw busy
        })
        const result = await job(tx)
        await commit(tx)
        return result
      } catch (error) {
        await rollback(tx)
        throw error
      }
    })
  }

  /** Finishes what is waiting, then refuses new writes. */
  async close(): Promise<void> {
    this.#closed = true
    await Promise.all(this.#draining)
  }

  /** Opens one more transaction, unless there are enough, or one that will take what waits is on its way. */
  #startDraining(): void {
    if (this.#takers > 0 || this.#draining.size === this.#dialect.writers) return
    const draining = this.#drain().finally(() => this.#draining.delete(draining))
    this.#draining.add(draining)
  }

  async #drain(): Promise<void> {
    for (;;) {
      this.#takers++
      // The end of this turn: whatever else arrived with the same burst of requests shares the commit.
      await turn()
      if (this.#waiting.length === 0) break
      await this.#runBatch()
    }
    this.#takers--
  }

  async #runBatch(): Promise<void> {
    let batch: Job[] = []
    const answers: (() => void)[] = []
    const events: NewEvent[] = []
    let isTaken = false
    let isCommitting = false
    // Who comes later may find the database again.
    const deadline = this.#deadline()
    try {
      await this.#db.connection().execute(async (connection) => {
        const tx = await withOwnConnection(connection, this.#dialect.writeNow)
        try {
          await this.#beginLocked(tx, this.#begin, (busy) => this.#failOverdue(busy))
        } finally {
          // Not before there is a lock: whoever comes while it is waited for shares the commit.
          batch = this.#take()
          isTaken = true
        }
        appended.set(tx, events)
        try {
          await this.#runAll(tx, batch, answers, events)
          await writeEvents(tx, events)
          isCommitting = true
          await commit(tx)
        } catch (error) {
          await rollback(tx)
          throw error
        } finally {
          // An event that comes later would be lost without a word.
          appended.delete(tx)
        }
      })
    } catch (error) {
      // Nothing was committed, unless the connection was lost on the way.
      if (!isTaken) {
        this.#takers--
        const [late, present] = partition(this.#waiting, (job) => job.deadline > deadline)
        this.#waiting = late
        for (const job of present) job.fail(error)
      } else if (error instanceof TransactionEnded) {
        this.#waiting.unshift(...batch.filter((job) => job !== error.job))
        this.#lose(error.job, error.cause)
      } else {
        const isUnknown = isCommitting && error instanceof DatabaseError
        for (const job of batch.toReversed()) {
          if (isUnknown) job.fail(error)
          else this.#lose(job, error)
        }
      }
      // Whoever it was that stood in the way, let them pass.
      if (this.#dialect.isPassing(error)) await sleep(20 * Math.random())
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

  /** The writes of the next transaction. One that lost before comes alone, so that it may wait for a lock. */
  #take(): Job[] {
    this.#takers--
    const lost = this.#waiting.findIndex((job) => job.losses > 0)
    const most = lost === -1 ? MAX_BATCH : lost
    const batch = this.#waiting.splice(0, Math.max(1, Math.min(most, MAX_BATCH)))
    // The rest need not wait for this transaction to end.
    if (this.#waiting.length > 0) this.#startDraining()
    return batch
  }

  async #runAll(tx: Tx, batch: Job[], answers: (() => void)[], events: NewEvent[]): Promise<void> {
    const [only] = batch
    if (only && batch.length === 1) {
      try {
        answers.push(await only.run(tx))
      } catch (error) {
        throw new TransactionEnded(only, error)
      }
      return
    }
    const { waitBriefly, writeNow } = this.#dialect
    if (waitBriefly !== undefined) await tx.executeQuery(CompiledQuery.raw(waitBriefly))
    const savepoints = new Savepoints(tx, writeNow)
    for (const [index, job] of batch.entries()) {
      const { answer, isBlocked } = await this.#runOne(tx, job, events, savepoints)
      answers.push(answer)
      // What follows may be blocked as well, and the others wait for what this transaction holds.
      if (isBlocked) this.#waiting.unshift(...batch.splice(index + 1))
    }
    await savepoints.settle()
  }

  /** A failure too is told after the commit only: it may come of what an earlier job of the batch wrote. */
  async #runOne(
    tx: Tx,
    job: Job,
    events: NewEvent[],
    savepoints: Savepoints,
  ): Promise<{ answer: () => void; isBlocked: boolean }> {
    const before = events.length
    for (;;) {
      savepoints.set(job)
      try {
        const answer = await job.run(tx)
        savepoints.release(job)
        return { answer, isBlocked: false }
      } catch (error) {
        events.length = before
        await savepoints.undo(job, error)
        const { isLockTimeout, isUniqueViolation } = this.#dialect
        if (isUniqueViolation(error) && this.#mayRunAgain(job, error)) continue
        return { answer: () => this.#lose(job, error), isBlocked: isLockTimeout(error) }
      }
    }
  }

  /** Runs a write once more when what stood in its way may be gone then; tells it otherwise. */
  #lose(job: Job, error: unknown): void {
    if (this.#mayRunAgain(job, error)) this.#waiting.unshift(job)
    else job.fail(error)
  }

  #mayRunAgain(job: Job, error: unknown): boolean {
    job.losses++
    if (this.#dialect.isUniqueViolation(error)) {
      // What was not there when the write looked for it is there now; if it collides once more, that is its own doing.
      if (job.hasCollided) return false
      job.hasCollided = true
    }
    return job.losses < MAX_RUNS && this.#dialect.isPassing(error)
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

  /** Begins with a lock. `onBusy` is told whenever another process has it, and throws to give up. */
  async #beginLocked(
    tx: Tx,
    begin: CompiledQuery,
    onBusy: (busy: DatabaseError) => void,
  ): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await tx.executeQuery(begin)
        return
      } catch (error) {
        if (!this.#dialect.isBusy(error)) throw error
        onBusy(new DatabaseError('busy', 'another process holds the database', { cause: error }))
        // Waiting here, and not in SQLite's own busy handler, leaves the event loop free for readers.
        await sleep(Math.min(100, 2 ** attempt) * (0.5 + Math.random() / 2))
      }
    }
  }
}

function partition<T>(all: readonly T[], test: (one: T) => boolean): [T[], T[]] {
  return [all.filter(test), all.filter((one) => !test(one))]
}

/** PostgreSQL answers a commit of what cannot be committed with another word, and no error. */
async function commit(tx: Tx): Promise<void> {
  const { rows } = await tx.executeQuery<{ command?: string }>(COMMIT)
  if (rows[0]?.command === 'ROLLBACK') throw new Error('a write went on after a failed statement')
}

/** A failed statement may have ended the transaction already (a full disk does): then there is nothing to undo. */
async function rollback(tx: Tx): Promise<void> {
  try {
    await tx.executeQuery(ROLLBACK)
  } catch {
    // No transaction is open, so none can be committed by mistake.
  }
}
