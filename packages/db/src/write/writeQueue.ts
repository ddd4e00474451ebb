import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import type { ConnectionPool, Engine } from '../engine/engine.ts'
import { DatabaseError } from '../engine/errors.ts'
import { type Statement, statement } from '../engine/session.ts'
import {
  type LockKey,
  stateOf,
  type Transaction,
  type TransactionState,
} from '../engine/transaction.ts'
import { commit, rollback } from '../engine/transactionControl.ts'
import { organisationLockKey } from '../query/locks.ts'
import type { NewEvent } from '../tables.ts'
import { Batch, type BeforeCommit } from './batch.ts'
import { beginWithLock, runExclusive } from './begin.ts'
import { ContendedWrites } from './contendedWrites.ts'
import { LogLocked, TransactionEnded } from './errors.ts'
import type { Job } from './job.ts'
import { shouldRetry } from './retry.ts'

export interface WriteQueueOptions {
  /** Maximum waiting writes; one more is refused with `overloaded`. */
  readonly maxWaiting: number
  /** How long a write waits for its turn and for locks (ms). */
  readonly busyTimeout: number
}

/** Maximum writes that share a commit, so that none holds the lock for long. */
const MAX_BATCH = 256

/** Lock timeouts of writes that lost (ms). The locked rows share the longer one: 20 rows are tried in 200 ms. */
const CONTENDED_LOCK_TIMEOUT_MS = { min: 10, max: 200 }

/** Granularity of deadlines (ms), so that one timer serves many writes. */
const DEADLINE_STEP_MS = 20

/** Where the jobs of a transaction come from, and go back to. */
interface Source {
  readonly pool: ConnectionPool
  readonly begin: Statement
  /** The row whose lock the transaction waits for. */
  readonly key: LockKey | undefined
  take(): Job[]
  /** Puts jobs that run again before the others. */
  putBack(jobs: readonly Job[]): void
  /** Takes the jobs up to a deadline, because no transaction could begin. */
  giveUp(deadline: number): Job[]
}

/**
 * Group commit. Writes that arrive in one turn of the event loop share a transaction and so a sync to disk, which is nearly
 * the whole cost of a small write. Each has its own savepoint, so a failing one undoes only itself. None resolves before the
 * commit. A single write starts at once.
 *
 * On PostgreSQL other processes write concurrently. A shared transaction holds the locks of many writes in no order, so it
 * does not wait long for a lock: the write that would is put off. Such writes run on a separate connection, grouped by the
 * row that they wait for, so that no other write waits for that row.
 */
export class WriteQueue {
  readonly #engine: Engine
  readonly #beforeCommit: BeforeCommit
  readonly #options: WriteQueueOptions
  readonly #listeners = new Set<(orgIds: ReadonlySet<string>) => void>()
  readonly #shared: Source
  readonly #contended: ContendedWrites
  #waiting: Job[] = []
  readonly #batches = new Set<Batch>()
  readonly #draining = new Set<Promise<void>>()
  /** Of those, the number that have not taken their writes yet. */
  #pendingBatches = 0
  #retrying: Promise<void> | undefined
  /** The group that runs now. */
  #turn: LockKey | undefined
  #deadlines: NodeJS.Timeout | undefined
  #closed = false
  /** The error that new writes reject with. */
  refusal: DatabaseError | undefined

  constructor(engine: Engine, beforeCommit: BeforeCommit, options: WriteQueueOptions) {
    this.#engine = engine
    this.#beforeCommit = beforeCommit
    this.#options = options
    this.#contended = new ContendedWrites(options.maxWaiting)
    this.#shared = {
      pool: engine.writer,
      begin: statement(engine.beginWrite),
      key: undefined,
      take: () => this.#take(),
      putBack: (jobs) => this.#waiting.unshift(...jobs),
      giveUp: (deadline) => {
        this.#pendingBatches--
        const [late, present] = partition(this.#waiting, (job) => job.deadline > deadline)
        this.#waiting = late
        return present
      },
    }
  }

  /**
   * Runs `job` in a write transaction and resolves with its result after the commit.
   *
   * `job` must use nothing but `tx`. If it throws, its writes are undone and the error is passed on. It may run more than
   * once, when another write ends the shared transaction; only the last run is kept.
   *
   * `job` must await every statement and must stop after one that failed. All writes share one connection: a statement that
   * is still running when `job` returns lands in another write, or outside of any.
   *
   * @throws DatabaseError `overloaded`, `busy`, `closed` or {@link refusal}; then nothing was written
   */
  write<T>(job: (tx: Transaction) => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#refuseWhenClosed()
      if (this.refusal) throw this.refusal
      if (this.#waiting.length >= this.#options.maxWaiting) {
        throw new DatabaseError('overloaded', 'too many writes are waiting')
      }
      this.#waiting.push({
        deadline: this.#deadline(),
        attempts: 0,
        sawConflict: false,
        hasRun: false,
        isSettled: false,
        run: async (tx) => {
          const result = await job(tx)
          return () => resolve(result)
        },
        fail: reject,
      })
      this.#watchDeadlines(this.#options.busyTimeout)
      this.#startDraining()
    })
  }

  /** Calls `listener` after each commit with the organisations whose log grew. What it throws becomes a process warning. */
  onEvents(listener: (orgIds: ReadonlySet<string>) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Runs `job` alone in a transaction that `begin` starts, without a savepoint. */
  async exclusive<T>(begin: string, job: (tx: Transaction) => Promise<T>): Promise<T> {
    this.#refuseWhenClosed()
    const { migrator } = this.#engine
    const { busyTimeout } = this.#options
    const { result, state } = await runExclusive(
      migrator,
      begin,
      this.#engine,
      busyTimeout,
      async (tx) => {
        const state = stateOf(tx)
        const result = await job(tx)
        state.isOpen = false
        await this.#beforeCommit(tx, state.events)
        return { result, state }
      },
    )
    // Migrations run SQL of their own.
    this.#afterCommit([{ ...state, removesText: true }], state.events)
    return result
  }

  /** Refuses new writes and finishes those that wait. */
  async close(): Promise<void> {
    this.#closed = true
    while (this.#draining.size > 0 || this.#retrying) {
      await Promise.all([...this.#draining, this.#retrying])
    }
    clearTimeout(this.#deadlines)
  }

  /** Starts a transaction, unless the maximum is running or one is about to take the waiting writes. */
  #startDraining(): void {
    if (this.#pendingBatches > 0 || this.#draining.size === this.#engine.writers) return
    const draining = this.#drain().finally(() => this.#draining.delete(draining))
    this.#draining.add(draining)
  }

  async #drain(): Promise<void> {
    for (;;) {
      this.#pendingBatches++
      // Writes of the same turn share the commit.
      await turn()
      if (this.#waiting.length === 0) break
      await this.#runBatch(this.#shared)
    }
    this.#pendingBatches--
  }

  /** Runs the contended writes, group by group, until none is left. */
  async #retry(): Promise<void> {
    for (;;) {
      await turn()
      const key = this.#contended.next()
      if (key === undefined) break
      this.#turn = key
      const lockedAt = await this.#runBatch(this.#sourceOf(key))
      this.#turn = undefined
      this.#contended.endTurn(key, lockedAt)
    }
    this.#retrying = undefined
  }

  #sourceOf(key: LockKey): Source {
    const { beginContended, beginWrite, contended, writer } = this.#engine
    const timeout = contended ? this.#contendedLockTimeout() : CONTENDED_LOCK_TIMEOUT_MS.min
    return {
      pool: contended ?? writer,
      begin: statement(beginContended?.(timeout) ?? beginWrite),
      key,
      take: () => this.#contended.take(key),
      putBack: (jobs) => this.#contended.putBack(key, jobs),
      giveUp: () => this.#contended.takeAll(),
    }
  }

  #contendedLockTimeout(): number {
    const { min, max } = CONTENDED_LOCK_TIMEOUT_MS
    return Math.max(min, Math.floor(max / this.#contended.size))
  }

  /** @returns the row at which a lock timed out */
  async #runBatch(source: Source): Promise<LockKey | undefined> {
    let batch: Batch | undefined
    let isCommitting = false
    // Later writes may find the database available again.
    const deadline = this.#deadline()
    try {
      await source.pool.lend(async (connection) => {
        let current: Batch
        try {
          await beginWithLock(connection, source.begin, this.#engine, (busy) =>
            this.#failOverdue(busy),
          )
        } finally {
          // After the lock is taken: writes that arrive until then share the commit.
          current = new Batch(connection, source.take(), {
            engine: this.#engine,
            contended: this.#contended,
            beforeCommit: this.#beforeCommit,
            ownKey: source.key,
          })
          batch = current
          this.#batches.add(current)
        }
        try {
          await current.run()
          source.putBack(current.takeRest())
          isCommitting = true
          await commit(connection)
        } catch (error) {
          await rollback(connection)
          throw error
        }
      })
    } catch (error) {
      // Nothing was committed, unless the connection was lost during the commit.
      if (batch) this.#undone(batch, source, error, isCommitting)
      else for (const job of source.giveUp(deadline)) this.#fail(job, error)
      const cause = error instanceof TransactionEnded ? error.cause : error
      // Let the other transaction finish. After a lock timeout that is done already.
      if (batch?.lockedAt === undefined && this.#engine.isRetryable(cause)) {
        await sleep(20 * Math.random())
      }
      return batch?.lockedAt
    } finally {
      if (batch) this.#batches.delete(batch)
    }
    if (!batch) return undefined
    for (const result of batch.results) {
      if (result.kind === 'done') result.answer()
      else if (result.kind === 'blocked') this.#putOff([result.job], result.key, source)
      else this.#retryOrFail(result.job, result.error)
    }
    const done = batch.results.filter((result) => result.kind === 'done')
    this.#afterCommit(done, batch.events)
    return batch.lockedAt
  }

  /** Decides for each job of a transaction that failed whether it runs again. */
  #undone(batch: Batch, source: Source, error: unknown, isCommitting: boolean): void {
    const blocked = new Map<Job, LockKey>()
    for (const result of batch.results) {
      if (result.kind === 'blocked') blocked.set(result.job, result.key)
    }
    const ending = error instanceof TransactionEnded ? error : undefined
    if (ending?.key !== undefined) blocked.set(ending.job, ending.key)
    if (error instanceof LogLocked) {
      for (const job of batch.jobsOf(error.orgId))
        blocked.set(job, organisationLockKey(error.orgId))
    }
    source.putBack(batch.takeRest())
    const [lost, others] = partition(batch.jobs, (job) => blocked.has(job))
    for (const job of batch.jobs) job.hasRun = false
    if (ending || error instanceof LogLocked) {
      source.putBack(others.filter((job) => !job.isSettled && job !== ending?.job))
      if (ending && ending.key === undefined) this.#retryOrFail(ending.job, ending.cause)
    } else {
      const isUnknown = isCommitting && error instanceof DatabaseError
      for (const job of others) {
        if (isUnknown) this.#fail(job, error)
        else this.#retryOrFail(job, error)
      }
    }
    for (const [key, jobs] of Map.groupBy(lost, (job) => blocked.get(job) as LockKey)) {
      this.#putOff(jobs, key, source)
    }
  }

  #afterCommit(
    done: readonly Pick<TransactionState, 'commitHooks' | 'removesText'>[],
    events: readonly NewEvent[],
  ): void {
    if (done.some(({ removesText }) => removesText)) this.#engine.cleanLog?.()
    for (const { commitHooks } of done) for (const hook of commitHooks) callHook(hook)
    if (events.length > 0) this.#notifyListeners(events)
  }

  #notifyListeners(events: readonly NewEvent[]): void {
    const orgIds = new Set(events.map((event) => event.org_id))
    for (const listener of this.#listeners) {
      try {
        listener(orgIds)
      } catch (error) {
        process.emitWarning(new Error('a listener to the event log failed', { cause: error }))
      }
    }
  }

  /** The writes of the next shared transaction. */
  #take(): Job[] {
    this.#pendingBatches--
    const batch = this.#waiting.splice(0, MAX_BATCH)
    // The rest does not wait for the end of this transaction.
    if (this.#waiting.length > 0) this.#startDraining()
    return batch
  }

  /** Runs a write again if it may succeed then; otherwise rejects it. */
  #retryOrFail(job: Job, error: unknown): void {
    if (job.isSettled) return
    // Alone: it may be the cause of the failure.
    if (shouldRetry(job, error, this.#engine)) this.#addContended(job, Symbol('alone'), false)
    else this.#fail(job, error)
  }

  /** Queues writes for a row that another transaction holds. */
  #putOff(jobs: readonly Job[], key: LockKey, source: Source): void {
    const open = jobs.filter((job) => !job.isSettled)
    const now = performance.now()
    const [late, inTime] = partition(open, (job) => job.deadline <= now)
    for (const job of late) this.#fail(job, tooLate())
    for (const job of inTime) job.hasRun = false
    if (key === source.key) source.putBack(inTime)
    else for (const job of inTime) this.#addContended(job, key, true)
  }

  #addContended(job: Job, key: LockKey, isLocked: boolean): void {
    job.hasRun = false
    if (this.#contended.add(key, job, { isLocked })) this.#retrying ??= this.#retry()
    else this.#fail(job, new DatabaseError('overloaded', 'too many writes wait for one lock'))
  }

  #fail(job: Job, error: unknown): void {
    job.isSettled = true
    job.fail(error)
  }

  #refuseWhenClosed(): void {
    if (this.#closed) throw new DatabaseError('closed', 'the database is closed')
  }

  #deadline(): number {
    return performance.now() + this.#options.busyTimeout
  }

  /** Checks the deadlines with a timer while writes wait. */
  #watchDeadlines(delay: number): void {
    this.#deadlines ??= setTimeout(() => {
      this.#deadlines = undefined
      const next = this.#failLate(tooLate())
      if (next !== undefined) {
        this.#watchDeadlines(Math.max(DEADLINE_STEP_MS, next - performance.now()))
      }
    }, delay).unref()
  }

  /**
   * Rejects the writes past their deadline, wherever they wait. Not those that only wait for the commit: they may be stored.
   *
   * @returns the next deadline
   */
  #failLate(busy: DatabaseError): number | undefined {
    const now = performance.now()
    let next: number | undefined
    const late: Job[] = []
    const look = (job: Job) => {
      if (job.isSettled || job.hasRun) return
      if (job.deadline <= now) late.push(job)
      else if (next === undefined || job.deadline < next) next = job.deadline
    }
    for (const job of this.#waiting) look(job)
    for (const job of this.#contended.jobs()) look(job)
    for (const { jobs } of this.#batches) for (const job of jobs) look(job)
    for (const job of late.sort((a, b) => a.deadline - b.deadline)) this.#fail(job, busy)
    if (late.length > 0) this.#waiting = this.#waiting.filter((job) => !job.isSettled)
    this.#contended.dropSettled(this.#turn)
    // Running writes may be queued again.
    if (next === undefined && this.#batches.size > 0) return now + this.#options.busyTimeout
    return next
  }

  /** The same while another process holds the lock. Throws if no write waits any more. */
  #failOverdue(busy: DatabaseError): void {
    this.#failLate(busy)
    if (this.#waiting.length === 0) throw busy
  }
}

function callHook(hook: () => void): void {
  try {
    hook()
  } catch (error) {
    process.emitWarning(new Error('an after-commit hook failed', { cause: error }))
  }
}

function tooLate(): DatabaseError {
  return new DatabaseError('busy', 'the write has waited for too long')
}

function partition<T>(all: readonly T[], test: (one: T) => boolean): [T[], T[]] {
  return [all.filter(test), all.filter((one) => !test(one))]
}
