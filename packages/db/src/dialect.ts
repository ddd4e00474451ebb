import { accessSync, constants, existsSync, mkdirSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import SqliteDriver from 'better-sqlite3'
import { type Dialect, type SqliteDatabase, SqliteDialect, type SqliteStatement } from 'kysely'
import { DatabaseError } from './errors.ts'

/** A database as this package opens it: two connections, so that no reader waits for the writer. */
export interface OpenedDialect {
  /** What an operator is told: the file, or the server without its password. */
  readonly location: string
  readonly reader: Dialect
  readonly writer: Dialect
  /** SQL that starts a write transaction which holds the write lock from its first statement. */
  readonly beginWrite: string
  isBusy(error: unknown): boolean
  isUniqueViolation(error: unknown): boolean
}

const URL_HELP =
  'DATABASE_URL must be "sqlite:" and the path of a file, for example sqlite:./data/dowell-chat.db'

/**
 * Opens what a DATABASE_URL names, and creates the file and its folder where they are missing.
 *
 * @throws DatabaseError `bad-url` or `cannot-open`
 */
export function openDialect(url: string): OpenedDialect {
  const match = /^(?:sqlite|file):(?:\/\/(?=\/))?(.+)$/s.exec(url)
  const path = match?.[1]
  if (path === undefined) {
    // Only the scheme is repeated: the rest of a database URL may be a password.
    const scheme = /^[a-z][a-z0-9+.-]*:/i.exec(url)?.[0]
    throw new DatabaseError(
      'bad-url',
      scheme ? `${URL_HELP}; "${scheme}" databases are not supported` : URL_HELP,
    )
  }
  if (path.startsWith(':memory:')) {
    throw new DatabaseError(
      'bad-url',
      `${URL_HELP}; a database in memory cannot be shared by a reader and a writer`,
    )
  }
  return openSqlite(resolve(path))
}

function openSqlite(file: string): OpenedDialect {
  try {
    createFolder(dirname(file))
    accessSync(dirname(file), constants.W_OK)
    if (existsSync(file)) accessSync(file, constants.W_OK)
    const writer = new SqliteDriver(file, { timeout: 0 })
    whenFree(() => writer.pragma('journal_mode = WAL'))
    configure(writer)
    // A reader in WAL mode meets the lock only while another process recovers the log.
    const reader = new SqliteDriver(file, { timeout: 1000 })
    configure(reader)
    reader.pragma('query_only = ON')
    return {
      location: file,
      reader: new SqliteDialect({ database: withPreparedStatements(reader) }),
      writer: new SqliteDialect({ database: withPreparedStatements(writer) }),
      beginWrite: 'begin immediate',
      isBusy: (error) => hasCode(error, 'SQLITE_BUSY'),
      isUniqueViolation: (error) =>
        hasCode(error, 'SQLITE_CONSTRAINT_UNIQUE') ||
        hasCode(error, 'SQLITE_CONSTRAINT_PRIMARYKEY'),
    }
  } catch (error) {
    throw new DatabaseError(
      'cannot-open',
      `cannot open the database ${file}: ${explain(error, dirname(file))}`,
      { cause: error },
    )
  }
}

/** How long, in milliseconds, a start waits for other processes that start on the same new file. */
const START_PATIENCE = 5_000

/**
 * Repeats what needs the file for itself, as turning it into WAL mode does. SQLite's own busy handler is not always asked
 * there, because two that wait for each other would wait for ever.
 */
function whenFree(work: () => void): void {
  const deadline = performance.now() + START_PATIENCE
  const clock = new Int32Array(new SharedArrayBuffer(4))
  for (;;) {
    try {
      work()
      return
    } catch (error) {
      if (!hasCode(error, 'SQLITE_BUSY') || performance.now() >= deadline) throw error
      // Nothing runs yet that this could hold up.
      Atomics.wait(clock, 0, 0, 1 + Math.random() * 10)
    }
  }
}

/** Like mkdir's `recursive`, which never returns for a folder below one that takes none (nodejs on /proc). */
function createFolder(folder: string): void {
  if (existsSync(folder)) return
  createFolder(dirname(folder))
  mkdirSync(folder)
}

function configure(connection: SqliteDriver.Database): void {
  connection.pragma('foreign_keys = ON')
  // An answered write survives a power cut: https://sqlite.org/pragma.html#pragma_synchronous
  connection.pragma('synchronous = FULL')
  connection.pragma('trusted_schema = OFF')
}

/**
 * Kysely prepares each statement anew; keeping them is the larger part of a small query's cost. The texts are few: one
 * for each shape of each query. The bound only guards against a query that would put values into its text.
 */
function withPreparedStatements(connection: SqliteDriver.Database): SqliteDatabase {
  const statements = new Map<string, SqliteDriver.Statement>()
  return {
    prepare(sql) {
      let statement = statements.get(sql)
      if (statement === undefined) {
        if (statements.size >= 200) statements.clear()
        statement = connection.prepare(sql)
        statements.set(sql, statement)
      }
      return statement as unknown as SqliteStatement
    },
    close() {
      statements.clear()
      connection.close()
    },
  }
}

function hasCode(error: unknown, code: string): boolean {
  if (!(error instanceof SqliteDriver.SqliteError)) return false
  return error.code === code || error.code.startsWith(`${code}_`)
}

function explain(error: unknown, folder: string): string {
  const { code, message } = error as NodeJS.ErrnoException
  switch (code) {
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return `this user may not write in ${folder}`
    case 'ENOTDIR':
    case 'EEXIST':
      return `${folder} is not a folder`
    case 'ENOENT':
      return `the folder ${folder} cannot be created`
    case 'SQLITE_CANTOPEN':
      return `no file can be created in ${folder}`
    case 'SQLITE_NOTADB':
      return 'the file is not an SQLite database'
    case 'SQLITE_BUSY':
      return 'another process holds it'
    default:
      return message
  }
}
