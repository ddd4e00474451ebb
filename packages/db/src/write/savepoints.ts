import { type Connection, type Statement, statement } from '../engine/session.ts'
import { TransactionEnded } from './errors.ts'
import type { Job } from './job.ts'

const SAVEPOINT = statement('savepoint one_write')
const RELEASE = statement('release savepoint one_write')
const ROLLBACK_TO = statement('rollback to savepoint one_write')

/**
 * The savepoints of the writes that share a transaction. On PostgreSQL they are pipelined to save round trips: a write begins
 * before the answer about the one before it. Their answers are awaited before a failure is undone and before the commit.
 */
export class Savepoints {
  readonly #connection: Connection
  #answered: Promise<unknown> | undefined
  #ended: TransactionEnded | undefined

  constructor(connection: Connection) {
    this.#connection = connection
  }

  set(job: Job): void {
    this.#send(SAVEPOINT, job)
  }

  release(job: Job): void {
    this.#send(RELEASE, job)
  }

  /**
   * Undoes a job.
   *
   * @param isAwaited false if none of its statements failed, so that the transaction is known to go on
   * @throws TransactionEnded
   */
  async undo(job: Job, cause: unknown, { isAwaited }: { isAwaited: boolean }): Promise<void> {
    if (!isAwaited && this.#connection.dialect === 'postgres') {
      this.#send(ROLLBACK_TO, job)
      this.#send(RELEASE, job)
      return
    }
    await this.settle()
    try {
      await this.#connection.execute(ROLLBACK_TO)
      await this.#connection.execute(RELEASE)
    } catch {
      throw new TransactionEnded(job, cause)
    }
  }

  /** Resolves when all that was sent is done. @throws TransactionEnded */
  async settle(): Promise<void> {
    await this.#answered
    if (this.#ended) throw this.#ended
  }

  #send(statement: Statement, job: Job): void {
    const rows = this.#connection.execute(statement)
    if (!(rows instanceof Promise)) return
    this.#answered = rows.catch((error) => {
      // All later statements of the transaction fail as well.
      this.#ended ??= new TransactionEnded(job, error)
    })
  }
}
