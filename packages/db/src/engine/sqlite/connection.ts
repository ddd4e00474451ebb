import type Sqlite from 'better-sqlite3'
import type { ConnectionPool } from '../engine.ts'
import { notStorable } from '../errors.ts'
import { Mutex } from '../mutex.ts'
import type { Connection, Rows, Statement } from '../session.ts'
import { fromFileSystem, hasCode } from './errors.ts'

/**
 * Maximum prepared statements of a connection. There are few texts, one for each shape of each query; this guards against
 * a query that puts values into its text.
 */
const MAX_STATEMENTS = 200

/** Keeps statements prepared: preparing is most of the cost of a small query. */
export class SqliteConnection implements Connection {
  readonly dialect = 'sqlite'
  readonly #connection: Sqlite.Database
  readonly #statements = new Map<string, Sqlite.Statement>()

  constructor(connection: Sqlite.Database) {
    this.#connection = connection
  }

  execute({ sql, parameters }: Statement): unknown[] {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      if (this.#statements.size >= MAX_STATEMENTS) this.#statements.clear()
      statement = this.#connection.prepare(sql)
      this.#statements.set(sql, statement)
    }
    try {
      if (statement.reader) return statement.all(parameters)
      statement.run(parameters)
      return []
    } catch (error) {
      throw hasCode(error, 'SQLITE_TOOBIG') ? notStorable(error) : fromFileSystem(error)
    }
  }
}

/** One connection, lent to one job at a time. Statements outside of a job run at once, or after the running job. */
export class SqlitePool implements ConnectionPool, Connection {
  readonly dialect = 'sqlite'
  readonly #connection: SqliteConnection
  readonly #mutex = new Mutex()

  constructor(connection: SqliteConnection) {
    this.#connection = connection
  }

  lend<T>(job: (connection: Connection) => Promise<T>): Promise<T> {
    return this.#mutex.run(() => job(this.#connection))
  }

  execute(statement: Statement): Rows<unknown> {
    if (!this.#mutex.isLocked) return this.#connection.execute(statement)
    return this.#mutex.run(async () => this.#connection.execute(statement))
  }
}
