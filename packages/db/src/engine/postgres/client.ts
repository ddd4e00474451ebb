import pg from 'pg'
import { DatabaseError, notStorable } from '../errors.ts'
import type { Connection, Statement } from '../session.ts'
import {
  isConnectionLost,
  isNotStorable,
  isStalePlan,
  isStatementTimeout,
  unavailable,
} from './errors.ts'

/** A pooled connection while it is in use. Sends each statement at once; the server runs them in this order. */
export class PooledClient implements Connection {
  readonly dialect = 'postgres'
  readonly #client: pg.PoolClient
  readonly #onError = () => {
    this.#isBroken = true
  }
  #isBroken = false

  constructor(client: pg.PoolClient) {
    this.#client = client
    // Between two statements an error has no other listener.
    client.on('error', this.#onError)
  }

  async execute({ sql, parameters }: Statement): Promise<unknown[]> {
    const name = statementName(sql, parameters)
    const isInTransaction = this.#client.getTransactionStatus() !== 'I'
    try {
      return await this.#query(sql, parameters, name)
    } catch (error) {
      if (name === undefined || !isStalePlan(error)) throw error
      if (names.get(sql) === name) names.clear()
      // The transaction is aborted.
      if (isInTransaction) throw error
      return this.#query(sql, parameters, undefined)
    }
  }

  /** Returns the connection to the pool, or closes it after an error. */
  release(): void {
    this.#client.off('error', this.#onError)
    this.#client.release(this.#isBroken)
  }

  async #query(text: string, values: readonly unknown[], name: string | undefined) {
    try {
      return rowsOf(await this.#client.query({ text, name, values: [...values] }))
    } catch (error) {
      // These quote rows and parameters. Message texts must not reach a log.
      if (error instanceof pg.DatabaseError) error.detail = error.where = undefined
      if (isConnectionLost(error)) {
        this.#isBroken = true
        throw unavailable(error)
      }
      if (isStatementTimeout(error)) {
        throw new DatabaseError('busy', 'a statement took too long', { cause: error })
      }
      if (isNotStorable(error)) throw notStorable(error)
      throw error
    }
  }
}

/** A commit returns its command tag: see `commit`. Several statements in one text return an array, whose rows are ignored. */
function rowsOf({ command, rows }: pg.QueryResult): unknown[] {
  return command === 'COMMIT' || command === 'ROLLBACK' ? [{ command }] : (rows ?? [])
}

/** Maximum statements that are kept prepared, as a guard against a query that puts values into its text. */
const MAX_NAMES = 500

/** The names of prepared statements by text. A name is never reused: a text without one is prepared again. */
const names = new Map<string, string>()
let namesGiven = 0

function statementName(text: string, values: readonly unknown[]): string | undefined {
  if (values.length === 0) return undefined
  let name = names.get(text)
  if (name === undefined && names.size < MAX_NAMES) {
    name = `s${namesGiven++}`
    names.set(text, name)
  }
  return name
}
