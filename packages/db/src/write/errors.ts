import type { LockKey } from '../engine/transaction.ts'
import type { Job } from './job.ts'

/** A job ended the whole transaction: it had no savepoint, or one of its statements did so, as on a full disk. */
export class TransactionEnded extends Error {
  readonly job: Job
  /** The row whose lock timed out, if that was the reason. */
  readonly key: LockKey | undefined

  constructor(job: Job, cause: unknown, key?: LockKey) {
    super('a write ended the transaction that it shared', { cause })
    this.job = job
    this.key = key
  }
}

/** Another transaction is known to hold the row that a job is about to lock. */
export class RowLocked extends Error {
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

/** The job timed out while it ran, so nothing of it may be committed. */
export class TooLate extends Error {}
