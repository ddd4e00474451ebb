import type { CompiledQuery, Dialect } from 'kysely'
import { DatabaseError } from './errors.ts'
import type { OpenLine } from './peers.ts'
import { openPostgres } from './postgres.ts'
import { openSqlite } from './sqlite.ts'

/** How a database is opened, besides where. */
export interface DialectOptions {
  /** PostgreSQL: connections at most, 2 or more. */
  readonly poolSize: number
  /** PostgreSQL: milliseconds that one statement may take. */
  readonly statementTimeout: number
  /** SQLite: whether the file must be there already. */
  readonly mustExist: boolean
}

/** @returns the rows, if the query has any */
export type RunNow = (query: CompiledQuery) => unknown[]

/** A database as this package opens it: connections that read apart from those that write, so that neither waits. */
export interface OpenedDialect {
  /** What an operator is told: the file, or the server without its password. */
  readonly location: string
  readonly reader: Dialect
  readonly writer: Dialect
  /**
   * Run a compiled query at once, on the connection that reads and on the one that writes; undefined where that means
   * waiting. See `withShortWay`.
   */
  readonly readNow: RunNow | undefined
  readonly writeNow: RunNow | undefined
  /** For writes that lost against others, so that nobody else waits with them. Undefined: the writer runs them as well. */
  readonly contended: Dialect | undefined
  /** For schema changes, which may take their time. Undefined: the writer does them. */
  readonly migrator: Dialect | undefined
  /** Write transactions at once. */
  readonly writers: number
  /** SQL that starts a write transaction. */
  readonly beginWrite: string
  /** SQL that starts a transaction which no schema change of another process can meet. */
  readonly beginMigration: string
  /** SQL that starts a transaction which sees one state of the tables, while nobody else can write to them. */
  readonly beginFrozen: string
  /**
   * SQL that starts a write transaction whose statements wait up to some milliseconds for a lock; those of `beginWrite` wait
   * briefly, since others may be waiting for their own. Undefined where a transaction has the one lock from its beginning.
   */
  readonly beginContended: ((lockTimeout: number) => string) | undefined
  /** SQL that lets what follows in a shared transaction wait longer for a lock. */
  readonly waitForLog: string | undefined
  /** Whether a transaction could not begin because another process has the lock that it begins with. */
  isBusy(error: unknown): boolean
  isUniqueViolation(error: unknown): boolean
  /** Whether a statement gave up waiting for a lock. */
  isLockTimeout(error: unknown): boolean
  /** Whether a statement in a transaction failed because it was prepared for another schema. It will not, the next time. */
  isOutdated(error: unknown): boolean
  /** Whether the same transaction may succeed when it is run again: it lost against another, or its connection. */
  isPassing(error: unknown): boolean
  /** Connects to the other processes on this database; undefined where there is no way to. */
  readonly openLine: OpenLine | undefined
  /** Resolves when the database can be written. @throws DatabaseError `cannot-open` */
  check(): Promise<void>
  /** The same for the same database, whatever it is called, and for no other. */
  identity(): Promise<string>
  /** Closes all connections, used or not, lines included; those in use when their statement is done or late. May be called twice. */
  close(): Promise<void>
}

const URL_HELP =
  'DATABASE_URL must be "sqlite:" and the path of a file, for example sqlite:./data/dowell-chat.db, or a PostgreSQL server, for example postgres://chat:password@db.example.com/chat'

/**
 * Opens what a DATABASE_URL names. SQLite's file and its folder are created; a PostgreSQL server is not called yet.
 *
 * @throws DatabaseError `bad-url` or `cannot-open`
 */
export function openDialect(url: string, options: DialectOptions): OpenedDialect {
  // Only the scheme is ever repeated: the rest of a database URL may be a password.
  const scheme = /^[a-z][a-z0-9+.-]*:/i.exec(url)?.[0]
  const opened =
    scheme === 'sqlite:' || scheme === 'file:'
      ? openSqlite(url.slice(scheme.length), options)
      : scheme === 'postgres:' || scheme === 'postgresql:'
        ? openPostgres(url, options)
        : undefined
  if (opened) return opened
  throw new DatabaseError(
    'bad-url',
    scheme === undefined ? URL_HELP : `${URL_HELP}; "${scheme}" databases are not supported`,
  )
}
