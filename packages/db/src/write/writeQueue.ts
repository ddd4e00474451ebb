import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { CompiledQuery, type Kysely } from 'kysely'
import type { OpenedDialect } from '../dialect.ts'
import { DatabaseError } from '../errors.ts'
import type { NewEvent } from '../queries/events.ts'
import { withOwnConnection } from '../shortWay.ts'
import type { Tables } from '../tables.ts'
import { type LockKey, organisationKey, type Tx } from '../transaction.ts'
import { Batch, commit, LogLocked, mayRunAgain, rollback, TransactionEnded } from './batch.ts'
import { ContendedWrites } from './contendedWrites.ts'
import type { Job } from './job.ts'

export interface WriteQueueOptions {
  /** Writes that may wait at once; one more is refused with `overloaded`. */
  readonly maxWaiting: number
  /** How long, in milliseconds, a write may wait: for its turn, and for what others have locked. */
  readonly busyTimeout: number
}

/** Writes that share a commit, at most. Keeps one batch from holding the lock for long. */
const MAX_BATCH = 256

/**
 * Lock timeouts of writes that lost (ms). All rows that are locked share the longest: 20 of them are tried in a fifth of a
 * second, and one that frees its lock meanwhile is met by who waits for it.
 */
const CONTENDED_WAIT = { min: 10, max: 200 }

/** How late a write may be told that it has waited too long (ms), so that many are told together. */
const DEADLINE_STEP = 20

type QueueDialect = Pick<
  OpenedDialect,
  | 'writers'
  | 'beginWrite'
  | 'beginContended'
  | 'waitForLog'
  | 'writeNow'
  | 'isBusy'
  | 'isUniqueViolation'
  | 'isLockTimeout'
  | 'isPassing'
>

/** Where the jobs of a transaction come from, and go back to. */
interface Source {
  readonly db: Kysely<Tables>
  readonly begin: CompiledQuery
  /** The row whose lock the transaction is there to wait for. */
  readonly key: LockKey | undefined
  take(): Job[]
  /** Puts jobs that are to run again before the others. */
  putBack(jobs: readonly Job[]): void
  /** Takes those that have waited since before a time, when no transaction could begin. */
  giveUp(deadline: number): Job[]
}

/**
 * How a write happens. Writes that arrive in one turn of the event loop share one transaction and so one sync to
 * disk, which is nearly all that a small write costs; each has a savepoint of its own, so one that fails takes nothing
 * with it. None is answered before the commit. A write that comes alone starts at once: nothing waits for company.
 *
 * On PostgreSQL other processes write at the same time. A shared transaction holds the locks of many writes, in no order,
 * and so does not wait for one of others: the write that would is put off. What was put off, or lost in another way, runs on
 * a connection of its own, grouped by the row that it waits for, so that nobody else waits for that row.
 */
export class WriteQueue {
  readonly #dialect: QueueDialect
  readonly #options: WriteQueueOptions
  readonly #listeners = new Set<(orgIds: ReadonlySet<string>) => void>()
  readonly #shared: Source
  readonly #contendedDb: Kysely<Tables>
  readonly #contended: ContendedWrites
  #waiting: Job[] = []
  readonly #batches = new Set<Batch>()
  readonly #draining = new Set<Promise<void>>()
  /** Of those, how many have not taken their writes yet. */
  #takers = 0
  #retrying: Promise<void> | undefined
  /** The group whose turn it is. */
  #turn: LockKey | undefined
  #deadlines: NodeJS.Timeout | undefined
  #closed = false

  /** @param contendedDb where writes that lost run again; the same as `db` if there is no connection to spare */
  constructor(
    db: Kysely<Tables>,
    contendedDb: Kysely<Tables>,
    dialect: QueueDialect,
    options: WriteQueueOptions,
  ) {
    this.#contendedDb = contendedDb
    this.#dialect = dialect
    this.#options = options
    this.#contended = new ContendedWrites(options.maxWaiting)
    this.#shared = {
      db,
      begin: CompiledQuery.raw(dialect.beginWrite),
      key: undefined,
      take: () => this.#take(),
      putBack: (jobs) => this.#waiting.unshift(...jobs),
      giveUp: (deadline) => {
        this.#takers--
        const [late, present] = partition(this.#waiting, (job) => job.deadline > deadline)
        this.#waiting = late
        return present
      },
    }
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
    while (this.#draining.size > 0 || this.#retrying) {
      await Promise.all([...this.#draining, this.#retrying])
    }
    clearTimeout(this.#deadlines)
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
      await this.#runBatch(this.#shared)
    }
    this.#takers--
  }

  /** Runs what lost, group by group, until nothing of it is left. */
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
    const { beginContended, beginWrite } = this.#dialect
    const isAlone = this.#contendedDb === this.#shared.db
    const wait = isAlone ? CONTENDED_WAIT.min : this.#contendedWait()
    return {
      db: this.#contendedDb,
      begin: CompiledQuery.raw(beginContended?.(wait) ?? beginWrite),
      key,
      take: () => this.#contended.take(key),
      putBack: (jobs) => this.#contended.putBack(key, jobs),
      giveUp: () => this.#contended.takeAll(),
    }
  }

  #contendedWait(): number {
    const { min, max } = CONTENDED_WAIT
    return Math.max(min, Math.floor(max / this.#contended.size))
  }

  /** @returns the row at which a lock timed out */
  async #runBatch(source: Source): Promise<LockKey | undefined> {
    let batch: Batch | undefined
    let isCommitting = false
    // Who comes later may find the database again.
    const deadline = this.#deadline()
    try {
      await source.db.connection().execute(async (connection) => {
        const tx = await withOwnConnection(connection, this.#dialect.writeNow)
        let current: Batch
        try {
          await this.#beginLocked(tx, source.begin, (busy) => this.#failOverdue(busy))
        } finally {
          // Not before there is a lock: whoever comes while it is waited for shares the commit.
          current = new Batch(tx, source.take(), this.#dialect, this.#contended, source.key)
          batch = current
          this.#batches.add(current)
        }
        try {
          await current.run()
          source.putBack(current.takeRest())
          isCommitting = true
          await commit(tx)
        } catch (error) {
          await rollback(tx)
          throw error
        }
      })
    } catch (error) {
      // Nothing was committed, unless the connection was lost on the way.
      if (batch) this.#undone(batch, source, error, isCommitting)
      else for (const job of source.giveUp(deadline)) this.#fail(job, error)
      const cause = error instanceof TransactionEnded ? error.cause : error
      // Whoever it was that stood in the way, let them pass. A lock was waited for already.
      if (batch?.lockedAt === undefined && this.#dialect.isPassing(cause)) {
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
    if (batch.events.length > 0) this.#tellOf(batch.events)
    return batch.lockedAt
  }

  /** Decides for each job of a transaction that was not committed whether it runs again. */
  #undone(batch: Batch, source: Source, error: unknown, isCommitting: boolean): void {
    const blocked = new Map<Job, LockKey>()
    for (const result of batch.results) {
      if (result.kind === 'blocked') blocked.set(result.job, result.key)
    }
    const ending = error instanceof TransactionEnded ? error : undefined
    if (ending?.key !== undefined) blocked.set(ending.job, ending.key)
    if (error instanceof LogLocked) {
      for (const job of batch.jobsOf(error.orgId)) blocked.set(job, organisationKey(error.orgId))
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

  /** The writes of the next shared transaction. */
  #take(): Job[] {
    this.#takers--
    const batch = this.#waiting.splice(0, MAX_BATCH)
    // The rest need not wait for this transaction to end.
    if (this.#waiting.length > 0) this.#startDraining()
    return batch
  }

  /** Runs a write once more when what stood in its way may be gone then; tells it otherwise. */
  #retryOrFail(job: Job, error: unknown): void {
    if (job.isSettled) return
    // Alone: it may be what harms the others.
    if (mayRunAgain(job, error, this.#dialect)) this.#addContended(job, Symbol('alone'), false)
    else this.#fail(job, error)
  }

  /** Lets writes wait for a row that another transaction holds. */
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

  /** Looks at the deadlines when the next one may be over, as long as anything waits. */
  #watchDeadlines(delay: number): void {
    this.#deadlines ??= setTimeout(() => {
      this.#deadlines = undefined
      const next = this.#failLate(tooLate())
      if (next !== undefined) {
        this.#watchDeadlines(Math.max(DEADLINE_STEP, next - performance.now()))
      }
    }, delay).unref()
  }

  /**
   * Tells those who have waited too long, wherever they wait, each by its own time. Not those whose commit alone is awaited:
   * what they did may be stored.
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
    // Those may come back.
    if (next === undefined && this.#batches.size > 0) return now + this.#options.busyTimeout
    return next
  }

  /** The same at a lock that another process has; throws when nobody waits any more. */
  #failOverdue(busy: DatabaseError): void {
    this.#failLate(busy)
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
        // PostgreSQL began before it waited for the lock.
        await rollback(tx)
        onBusy(new DatabaseError('busy', 'another process holds the database', { cause: error }))
        // Waiting here, and not in SQLite's own busy handler, leaves the event loop free for readers.
        await sleep(Math.min(100, 2 ** attempt) * (0.5 + Math.random() / 2))
      }
    }
  }
}

function tooLate(): DatabaseError {
  return new DatabaseError('busy', 'the write has waited for too long')
}

function partition<T>(all: readonly T[], test: (one: T) => boolean): [T[], T[]] {
  return [all.filter(test), all.filter((one) => !test(one))]
}
