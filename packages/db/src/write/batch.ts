import { CompiledQuery } from 'kysely'
import type { OpenedDialect, RunNow } from '../dialect.ts'
import { EventLogError } from '../errors.ts'
import { type NewEvent, writeEvents } from '../queries/events.ts'
import {
  isOrganisationKey,
  type LockKey,
  organisationKey,
  type Tx,
  whileOpen,
} from '../transaction.ts'
import type { ContendedWrites } from './contendedWrites.ts'
import type { Job } from './job.ts'

/** What came of a job in a transaction, to be told or acted on after the commit. */
type Result =
  | { readonly job: Job; readonly kind: 'done'; answer(): void; readonly events: Range }
  | { readonly job: Job; readonly kind: 'failed'; readonly error: unknown }
  | { readonly job: Job; readonly kind: 'blocked'; readonly key: LockKey }

interface Range {
  readonly from: number
  readonly to: number
}

/** How often a write is run that loses against others. */
const MAX_RUNS = 5

/** How long a transaction takes further jobs (ms). What it has done is told after its commit only. */
const MAX_BATCH_MS = 2_000

const COMMIT = CompiledQuery.raw('commit')
const ROLLBACK = CompiledQuery.raw('rollback')
const SAVEPOINT = CompiledQuery.raw('savepoint one_write')
const RELEASE = CompiledQuery.raw('release savepoint one_write')
const ROLLBACK_TO = CompiledQuery.raw('rollback to savepoint one_write')

export type BatchDialect = Pick<
  OpenedDialect,
  'writeNow' | 'beginContended' | 'waitForLog' | 'isLockTimeout' | 'isUniqueViolation' | 'isPassing'
>

/** This job ended the whole transaction: it had no savepoint, or a statement of it did so, as on a full disk. */
export class TransactionEnded extends Error {
  readonly job: Job
  /** The row whose lock it could not get, if that was the reason. */
  readonly key: LockKey | undefined

  constructor(job: Job, cause: unknown, key?: LockKey) {
    super('a write ended the transaction that it shared', { cause })
    this.job = job
    this.key = key
  }
}

/** Another transaction is known to hold the row that a job is about to lock. */
class RowLocked extends Error {
  readonly key: LockKey

  constructor(key: LockKey) {
    super('another transaction holds a row')
    this.key = key
  }
}

/** Another transaction holds the row that gives an organisation's events their positions. */
export class LogLocked extends Error {
  readonly orgId: string

  constructor(orgId: string) {
    super("an organisation's event log is locked")
    this.orgId = orgId
  }
}

/** Its caller was told meanwhile that it took too long, so it must leave no trace. */
class TooLate extends Error {}

/** The jobs that share a transaction. */
export class Batch {
  readonly #tx: Tx
  readonly #dialect: BatchDialect
  readonly #contended: ContendedWrites
  readonly #ownKey: LockKey | undefined
  readonly #jobs: Job[]
  #rest: Job[] = []
  readonly results: Result[] = []
  readonly events: NewEvent[] = []
  /** The row at which a lock timed out. */
  lockedAt: LockKey | undefined
  /** The row that the running job locked last, and the one that it was kept from. */
  #announced: LockKey | undefined
  #refused: LockKey | undefined
  /** Whether a job has locked an organisation's row, which the others lock at the end. */
  #hasLog = false

  /** @param ownKey the row whose lock this transaction is there to wait for */
  constructor(
    tx: Tx,
    jobs: readonly Job[],
    dialect: BatchDialect,
    contended: ContendedWrites,
    ownKey: LockKey | undefined,
  ) {
    this.#tx = tx
    this.#jobs = [...jobs]
    this.#dialect = dialect
    this.#contended = contended
    this.#ownKey = ownKey
  }

  get jobs(): readonly Job[] {
    return this.#jobs
  }

  /**
   * Runs the jobs, each undone alone if it fails, and writes their events.
   *
   * @throws TransactionEnded, LogLocked, or what broke the connection; nothing may be committed then
   */
  async run(): Promise<void> {
    const beforeLock = this.#dialect.beginContended && ((key: string) => this.#beforeLock(key))
    await whileOpen(this.#tx, { events: this.events, beforeLock }, async () => {
      const [only] = this.#jobs
      if (only && this.#jobs.length === 1) await this.#runAlone(only)
      else await this.#runAll()
      await this.#writeEvents()
    })
  }

  /** The jobs that did not get their turn, once. */
  takeRest(): Job[] {
    return this.#rest.splice(0)
  }

  /** The jobs that appended to an organisation's log. */
  jobsOf(orgId: string): Job[] {
    return this.results
      .filter((result) => result.kind === 'done' && this.#orgsOf(result.events).has(orgId))
      .map(({ job }) => job)
  }

  #orgsOf({ from, to }: Range): Set<string> {
    return new Set(this.events.slice(from, to).map((event) => event.org_id))
  }

  async #runAlone(job: Job): Promise<void> {
    try {
      if (job.isSettled) throw new TooLate()
      const answer = await job.run(this.#tx)
      const events = { from: 0, to: this.events.length }
      this.#refuse(job, events)
      this.#add({ job, kind: 'done', answer, events })
    } catch (error) {
      throw new TransactionEnded(job, error, this.#keyOf(error))
    }
  }

  async #runAll(): Promise<void> {
    const savepoints = new Savepoints(this.#tx, this.#dialect.writeNow)
    const end = performance.now() + MAX_BATCH_MS
    for (const [index, job] of this.#jobs.entries()) {
      if (job.isSettled) continue
      await this.#runOne(job, savepoints)
      // What follows may be blocked as well, and the others wait for what this transaction holds.
      if (this.lockedAt !== undefined || performance.now() > end) {
        this.#rest = this.#jobs.splice(index + 1)
        break
      }
    }
    await savepoints.settle()
  }

  /** A failure too is told after the commit only: it may come of what an earlier job of the batch wrote. */
  async #runOne(job: Job, savepoints: Savepoints): Promise<void> {
    const from = this.events.length
    for (;;) {
      savepoints.set(job)
      this.#announced = this.#refused = undefined
      try {
        const answer = await job.run(this.#tx)
        const events = { from, to: this.events.length }
        this.#refuse(job, events)
        savepoints.release(job)
        this.#add({ job, kind: 'done', answer, events })
        return
      } catch (error) {
        this.events.length = from
        const isOurs = error instanceof RowLocked || error instanceof TooLate
        await savepoints.undo(job, error, { isWaitedFor: !isOurs })
        if (error instanceof TooLate) return
        const key = this.#keyOf(error)
        if (key !== undefined) this.#add({ job, kind: 'blocked', key })
        else if (this.#dialect.isUniqueViolation(error) && mayRunAgain(job, error, this.#dialect)) {
          continue
        } else this.#add({ job, kind: 'failed', error })
        return
      }
    }
  }

  #add(result: Result): void {
    result.job.hasRun = true
    this.results.push(result)
  }

  /** Lets nothing be committed of a job that its caller was told about, or that has to wait for a locked row. */
  #refuse(job: Job, events: Range): void {
    if (job.isSettled) throw new TooLate()
    if (this.#refused !== undefined) throw new RowLocked(this.#refused)
    if (this.#contended.size === 0) return
    for (const orgId of this.#orgsOf(events)) {
      const key = organisationKey(orgId)
      if (this.#isKeptFrom(key)) throw new RowLocked(key)
    }
  }

  #beforeLock(key: string): void {
    this.#announced = key
    if (isOrganisationKey(key)) this.#hasLog = true
    if (this.#contended.size === 0 || !this.#isKeptFrom(key)) return
    this.#refused = key
    throw new RowLocked(key)
  }

  #isKeptFrom(key: LockKey): boolean {
    return key !== this.#ownKey && this.#contended.isLocked(key)
  }

  /** The row that a job was blocked at; undefined if it failed for another reason. */
  #keyOf(error: unknown): LockKey | undefined {
    if (error instanceof RowLocked) return error.key
    if (!this.#dialect.isLockTimeout(error)) return undefined
    this.lockedAt = this.#announced ?? Symbol('a row that nobody announced')
    return this.lockedAt
  }

  async #writeEvents(): Promise<void> {
    const { waitForLog } = this.#dialect
    // Not where two transactions could wait for each other, nor where a transaction has waited by itself.
    if (waitForLog && this.#jobs.length > 1 && !this.#hasLog && this.#ownKey === undefined) {
      // Without waiting for the answer: what follows fails as well.
      this.#tx.executeQuery(CompiledQuery.raw(waitForLog)).catch(() => undefined)
    }
    try {
      await writeEvents(this.#tx, this.events)
    } catch (error) {
      if (!(error instanceof EventLogError)) throw error
      if (!this.#dialect.isLockTimeout(error.cause)) throw error.cause
      this.lockedAt = organisationKey(error.orgId)
      throw new LogLocked(error.orgId)
    }
  }
}

/** Whether what stood in a write's way may be gone when it is run once more. Counts the loss. */
export function mayRunAgain(job: Job, error: unknown, dialect: BatchDialect): boolean {
  job.losses++
  if (dialect.isUniqueViolation(error)) {
    // What was not there when the write looked for it is there now; if it collides once more, that is its own doing.
    if (job.hasCollided) return false
    job.hasCollided = true
  }
  return job.losses < MAX_RUNS && dialect.isPassing(error)
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

  /**
   * Undoes what a job did.
   *
   * @param isWaitedFor false if no statement of it failed, so that the transaction is known to go on
   * @throws TransactionEnded
   */
  async undo(job: Job, cause: unknown, { isWaitedFor }: { isWaitedFor: boolean }): Promise<void> {
    if (!isWaitedFor && !this.#runNow) {
      this.#send(ROLLBACK_TO, job)
      this.#send(RELEASE, job)
      return
    }
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

/** PostgreSQL answers a commit of what cannot be committed with another word, and no error. */
export async function commit(tx: Tx): Promise<void> {
  const { rows } = await tx.executeQuery<{ command?: string }>(COMMIT)
  if (rows[0]?.command === 'ROLLBACK') throw new Error('a write went on after a failed statement')
}

/** A failed statement may have ended the transaction already (a full disk does): then there is nothing to undo. */
export async function rollback(tx: Tx): Promise<void> {
  try {
    await tx.executeQuery(ROLLBACK)
  } catch {
    // No transaction is open, so none can be committed by mistake.
  }
}
