import { setTimeout as sleep } from 'node:timers/promises'
import type { ConnectionPool, Engine } from '../engine/engine.ts'
import { DatabaseError } from '../engine/errors.ts'
import { type Connection, type Statement, statement } from '../engine/session.ts'
import { Transaction } from '../engine/transaction.ts'
import { commit, rollback } from '../engine/transactionControl.ts'

/**
 * Begins a transaction that takes a lock. Tries again while another process holds it.
 *
 * @param onBusy called after each attempt that failed; throws to give up
 */
export async function beginWithLock(
  connection: Connection,
  begin: Statement,
  engine: Pick<Engine, 'isBusy'>,
  onBusy: (busy: DatabaseError) => void,
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await connection.execute(begin)
      return
    } catch (error) {
      if (!engine.isBusy(error)) throw error
      // On PostgreSQL the transaction has begun before it waits for the lock.
      await rollback(connection)
      onBusy(new DatabaseError('busy', 'another process holds the database', { cause: error }))
      // Wait here, because SQLite's busy handler blocks the event loop.
      await sleep(Math.min(100, 2 ** attempt) * (0.5 + Math.random() / 2))
    }
  }
}

/** Runs `job` as the only one of a transaction. @throws DatabaseError `busy` after `timeout` milliseconds */
export async function runExclusive<T>(
  pool: ConnectionPool,
  begin: string,
  engine: Pick<Engine, 'isBusy'>,
  timeout: number,
  job: (tx: Transaction) => Promise<T>,
): Promise<T> {
  return pool.lend(async (connection) => {
    const tx = new Transaction(connection)
    const deadline = performance.now() + timeout
    try {
      await beginWithLock(connection, statement(begin), engine, (busy) => {
        if (performance.now() >= deadline) throw busy
      })
      const result = await job(tx)
      await commit(connection)
      return result
    } catch (error) {
      await rollback(connection)
      throw error
    }
  })
}
