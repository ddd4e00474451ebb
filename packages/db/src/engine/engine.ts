import type { Listen } from './peers.ts'
import type { Connection } from './session.ts'

/** How a database is opened, besides its URL. */
export interface EngineOptions {
  /** PostgreSQL: maximum connections, 2 or more. */
  readonly poolSize: number
  /** PostgreSQL: timeout of a statement (ms). */
  readonly statementTimeout: number
  /** PostgreSQL: timeout for opening a connection, and for a query to get one (ms). */
  readonly connectTimeout: number
  /** SQLite: refuse to create a missing file. */
  readonly mustExist: boolean
  /** SQLite: who empties the write-ahead log. `external`: another program does, such as Litestream. */
  readonly checkpoints: 'server' | 'external'
}

/** Connections that are lent to one job at a time. */
export interface ConnectionPool {
  lend<T>(job: (connection: Connection) => Promise<T>): Promise<T>
}

/** An open SQLite file or PostgreSQL server. Reads and writes use separate connections, so neither waits for the other. */
export interface Engine {
  /** For operators: the file, or the server without its password. */
  readonly location: string
  /** A warning for operators if other users of the machine can read the file. */
  readonly exposure: string | undefined
  /** Runs reads outside of transactions. */
  readonly reader: Connection
  /** SQL for the reader, with one row: in `problem`, why nothing can be written, or null. */
  readonly findProblem: string
  /** Runs `job` in a read-only transaction that sees one state. May run it twice after a schema change. */
  snapshot<T>(job: (connection: Connection) => Promise<T>): Promise<T>
  /** SQL for the reader, with the server's clock in `now` (ms). Undefined where it is this machine's. */
  readonly findTime: string | undefined
  readonly writer: ConnectionPool
  /** For writes that lost against others, so that no other write waits with them. Undefined: they use the writer. */
  readonly contended: ConnectionPool | undefined
  /** For schema changes, which have no statement timeout. */
  readonly migrator: ConnectionPool
  /** Maximum concurrent write transactions. */
  readonly writers: number
  /** SQL that begins a write transaction. */
  readonly beginWrite: string
  /** SQL that begins a transaction which excludes schema changes by other processes. */
  readonly beginMigration: string
  /** SQL that begins a transaction which sees one state and excludes all other writers. */
  readonly beginWithWriteLock: string
  /**
   * SQL that begins a write transaction with a lock timeout (ms). Those of `beginWrite` have a short one, because they hold
   * locks of many writes. Undefined where a transaction holds the only lock from its beginning.
   */
  readonly beginContended: ((lockTimeout: number) => string) | undefined
  /** SQL that raises the lock timeout in a shared transaction. */
  readonly waitForLog: string | undefined
  /**
   * Called after a commit that removed text. Removes it from the write-ahead log within seconds, as soon as no reader needs
   * it. Undefined where that is not up to us.
   */
  readonly cleanLog: (() => void) | undefined
  /** True if a transaction could not begin because another process holds the lock. */
  isBusy(error: unknown): boolean
  isUniqueViolation(error: unknown): boolean
  isLockTimeout(error: unknown): boolean
  /** True if the transaction may succeed when it is run again: it lost against another one, or lost its connection. */
  isRetryable(error: unknown): boolean
  /** Connects to the other processes on this database. Undefined on SQLite. */
  readonly listen: Listen | undefined
  /** Resolves if the database can be written. @throws DatabaseError `cannot-open` */
  check(): Promise<void>
  /** Equal for two URLs if they name the same database. */
  identity(): Promise<string>
  /** Closes all connections, those in use after their statement or its timeout. Can be called twice. */
  close(): Promise<void>
}
