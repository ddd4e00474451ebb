import type { Transaction } from '../engine/transaction.ts'

/** A write in the queue. */
export interface Job {
  /** When it has waited long enough, by `performance.now()`. */
  readonly deadline: number
  /** Runs that lost against another transaction or lost their connection. Lock timeouts do not count. */
  attempts: number
  /** True after a unique violation. */
  sawConflict: boolean
  /** True while it has a result in an open transaction and only waits for the commit. */
  hasRun: boolean
  /** True once its promise is settled. */
  isSettled: boolean
  /** @returns a function that resolves the caller's promise; call it after the commit */
  run(tx: Transaction): Promise<() => void>
  fail(error: unknown): void
}
