import type { Engine } from '../engine/engine.ts'
import { EventLogError } from '../engine/errors.ts'
import { type Connection, statement } from '../engine/session.ts'
import { type CommitHook, type LockKey, stateOf, Transaction } from '../engine/transaction.ts'
import { isOrganisationLockKey, organisationLockKey } from '../query/locks.ts'
import type { NewEvent } from '../tables.ts'
import type { ContendedWrites } from './contendedWrites.ts'
import { LogLocked, RowLocked, TooLate, TransactionEnded } from './errors.ts'
import type { Job } from './job.ts'
import { shouldRetry } from './retry.ts'
import { Savepoints } from './savepoints.ts'

/** The outcome of a job in a transaction, to be passed on after the commit. */
type Result =
  | {
      readonly job: Job
      readonly kind: 'done'
      readonly answer: () => void
      readonly events: readonly NewEvent[]
      readonly commitHooks: CommitHook[]
      readonly removesText: boolean
    }
  | { readonly job: Job; readonly kind: 'failed'; readonly error: unknown }
  | { readonly job: Job; readonly kind: 'blocked'; readonly key: LockKey }

/** How long a transaction takes further jobs (ms). Their results wait for its commit. */
const MAX_BATCH_MS = 2_000

/** Stores the events of a transaction. Runs after its jobs. @throws EventLogError */
export type BeforeCommit = (tx: Transaction, events: readonly NewEvent[]) => Promise<void>

export interface BatchOptions {
  readonly engine: Pick<
    Engine,
    'beginContended' | 'waitForLog' | 'isLockTimeout' | 'isUniqueViolation' | 'isRetryable'
  >
  readonly contended: ContendedWrites
  readonly beforeCommit: BeforeCommit
  /** The row whose lock this transaction waits for. */
  readonly ownKey: LockKey | undefined
}

/** The jobs that share a transaction. */
export class Batch {
  readonly #connection: Connection
  readonly #options: BatchOptions
  readonly #jobs: Job[]
  #rest: Job[] = []
  readonly results: Result[] = []
  readonly events: NewEvent[] = []
  /** The row at which a lock timed out. */
  lockedAt: LockKey | undefined
  /** The row that the running job locked last, and the one whose lock it was refused. */
  #announced: LockKey | undefined
  #refused: LockKey | undefined
  /** True once a job has locked an organisation's row. All others do so at the end. */
  #hasLog = false

  constructor(connection: Connection, jobs: readonly Job[], options: BatchOptions) {
    this.#connection = connection
    this.#jobs = [...jobs]
    this.#options = options
  }

  get jobs(): readonly Job[] {
    return this.#jobs
  }

  /**
   * Runs the jobs, undoes each that fails, and stores their events.
   *
   * @throws TransactionEnded, LogLocked, or the error that broke the connection; then nothing may be committed
   */
  async run(): Promise<void> {
    const [only] = this.#jobs
    if (only && this.#jobs.length === 1) await this.#runAlone(only)
    else await this.#runAll()
    await this.#storeEvents()
  }

  /** Takes the jobs that have not run. */
  takeRest(): Job[] {
    return this.#rest.splice(0)
  }

  /** The jobs that appended to an organisation's log. */
  jobsOf(orgId: string): Job[] {
    return this.results
      .filter((result) => result.kind === 'done' && orgsOf(result.events).has(orgId))
      .map(({ job }) => job)
  }

  async #runAlone(job: Job): Promise<void> {
    try {
      if (job.isSettled) throw new TooLate()
      await this.#runJob(job)
    } catch (error) {
      throw new TransactionEnded(job, error, this.#keyOf(error))
    }
  }

  async #runAll(): Promise<void> {
    const savepoints = new Savepoints(this.#connection)
    const end = performance.now() + MAX_BATCH_MS
    for (const [index, job] of this.#jobs.entries()) {
      if (job.isSettled) continue
      await this.#runOne(job, savepoints)
      // The next job may be blocked too, and other transactions wait for the locks of this one.
      if (this.lockedAt !== undefined || performance.now() > end) {
        this.#rest = this.#jobs.splice(index + 1)
        break
      }
    }
    await savepoints.settle()
  }

  /** A failure too is passed on after the commit: it may be caused by an earlier job of the batch. */
  async #runOne(job: Job, savepoints: Savepoints): Promise<void> {
    const { engine } = this.#options
    for (;;) {
      savepoints.set(job)
      this.#announced = this.#refused = undefined
      try {
        await this.#runJob(job, () => savepoints.release(job))
        return
      } catch (error) {
        const isOurs = error instanceof RowLocked || error instanceof TooLate
        await savepoints.undo(job, error, { isAwaited: !isOurs })
        if (error instanceof TooLate) return
        const key = this.#keyOf(error)
        if (key !== undefined) this.#add({ job, kind: 'blocked', key })
        else if (engine.isUniqueViolation(error) && shouldRetry(job, error, engine)) continue
        else this.#add({ job, kind: 'failed', error })
        return
      }
    }
  }

  async #runJob(job: Job, release?: () => void): Promise<void> {
    const beforeLock = this.#options.engine.beginContended && this.#beforeLock
    const tx = new Transaction(this.#connection, beforeLock)
    const state = stateOf(tx)
    try {
      const answer = await job.run(tx)
      const { events, commitHooks, removesText } = state
      this.#assertCommittable(job, events)
      release?.()
      this.#add({ job, kind: 'done', answer, events, commitHooks, removesText })
      this.events.push(...events)
    } finally {
      state.isOpen = false
    }
  }

  #add(result: Result): void {
    result.job.hasRun = true
    this.results.push(result)
  }

  /** Keeps a job out of the commit if it timed out or must wait for a locked row. */
  #assertCommittable(job: Job, events: readonly NewEvent[]): void {
    if (job.isSettled) throw new TooLate()
    if (this.#refused !== undefined) throw new RowLocked(this.#refused)
    if (this.#options.contended.size === 0) return
    for (const orgId of orgsOf(events)) {
      const key = organisationLockKey(orgId)
      if (this.#mustWaitFor(key)) throw new RowLocked(key)
    }
  }

  readonly #beforeLock = (key: string): void => {
    this.#announced = key
    if (isOrganisationLockKey(key)) this.#hasLog = true
    if (this.#options.contended.size === 0 || !this.#mustWaitFor(key)) return
    this.#refused = key
    throw new RowLocked(key)
  }

  #mustWaitFor(key: LockKey): boolean {
    return key !== this.#options.ownKey && this.#options.contended.isLocked(key)
  }

  /** The row at which a job was blocked; undefined if it failed for another reason. */
  #keyOf(error: unknown): LockKey | undefined {
    if (error instanceof RowLocked) return error.key
    if (!this.#options.engine.isLockTimeout(error)) return undefined
    this.lockedAt = this.#announced ?? Symbol('an unannounced row')
    return this.lockedAt
  }

  async #storeEvents(): Promise<void> {
    const { engine, ownKey, beforeCommit } = this.#options
    // Not where two transactions could wait for each other, nor in one that waits alone for a row.
    if (engine.waitForLog && this.#jobs.length > 1 && !this.#hasLog && ownKey === undefined) {
      // Not awaited: if it fails, the next statement fails as well.
      Promise.resolve(this.#connection.execute(statement(engine.waitForLog))).catch(() => undefined)
    }
    try {
      await beforeCommit(new Transaction(this.#connection), this.events)
    } catch (error) {
      if (!(error instanceof EventLogError)) throw error
      if (!engine.isLockTimeout(error.cause)) throw error.cause
      this.lockedAt = organisationLockKey(error.orgId)
      throw new LogLocked(error.orgId)
    }
  }
}

function orgsOf(events: readonly NewEvent[]): Set<string> {
  return new Set(events.map((event) => event.org_id))
}
