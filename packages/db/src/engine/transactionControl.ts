import { type Connection, type Statement, statement } from './session.ts'

const COMMIT = statement('commit')
const ROLLBACK = statement('rollback')

/** PostgreSQL answers the commit of an aborted transaction with ROLLBACK and without an error. */
export async function commit(connection: Connection): Promise<void> {
  const [row] = (await connection.execute(COMMIT)) as { command?: string }[]
  if (row?.command === 'ROLLBACK') throw new Error('a write went on after a failed statement')
}

/** Ignores errors: a failed statement may have ended the transaction already, as a full disk does. */
export async function rollback(connection: Connection): Promise<void> {
  try {
    await connection.execute(ROLLBACK)
  } catch {
    // No transaction is open, so none can be committed by mistake.
  }
}

/** Runs `job` between `begin` and a commit, or a rollback if it fails. */
export async function inTransaction<T>(
  connection: Connection,
  begin: Statement,
  job: () => Promise<T>,
): Promise<T> {
  await connection.execute(begin)
  try {
    const result = await job()
    await commit(connection)
    return result
  } catch (error) {
    await rollback(connection)
    throw error
  }
}
