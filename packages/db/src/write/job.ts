import type { Tx } from '../transaction.ts'

/** A write in the queue. */
export interface Job {
  /** When, by `performance.now()`, it has waited long enough. */
  readonly deadline: number
  /** How often it was run and lost against another transaction, or its connection. A lock that timed out does not count. */
  losses: number
  /** Whether one of those was a unique violation. */
  hasCollided: boolean
  /** Whether it has a result in an open transaction, so that only the commit is awaited. */
  hasRun: boolean
  /** Whether the caller was told. */
  isSettled: boolean
  /** @returns what tells the caller of the result; to be called when that is durable */
  run(tx: Tx): Promise<() => void>
  fail(error: unknown): void
}
