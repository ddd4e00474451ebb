import { accessSync, constants, existsSync, mkdirSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import SqliteDriver from 'better-sqlite3'
import { type SqliteDatabase, SqliteDialect, type SqliteStatement } from 'kysely'
import type { DialectOptions, OpenedDialect, RunNow } from './dialect.ts'
import { DatabaseError } from './errors.ts'

const URL_HELP =
  'DATABASE_URL must be "sqlite:" and the path of a file, for example sqlite:./data/dowell-chat.db'

/**
 * Opens the file that the rest of a URL names, and creates it and its folder where they are missing.
 *
 * @throws DatabaseError `bad-url` or `cannot-open`
 */
export function openSqlite(name: string, { mustExist }: DialectOptions): OpenedDialect {
  // With two slashes the next word would be a host, not a folder: nobody means sqlite://data/chat.db as /data/chat.db.
  const path = /^(?:\/\/(?=\/)|(?!\/\/))(.+)$/s.exec(name)?.[1]
  if (path === undefined) throw new DatabaseError('bad-url', URL_HELP)
  if (path.startsWith(':memory:')) {
    throw new DatabaseError(
      'bad-url',
      `${URL_HELP}; a database in memory cannot be shared by a reader and a writer`,
    )
  }
  const file = resolve(path)
  if (mustExist && !existsSync(file)) {
    throw new DatabaseError(
      'cannot-open',
      `cannot open the database ${file}: there is no such file`,
    )
  }
  return openFile(file)
}

function openFile(file: string): OpenedDialect {
  const opened: SqliteDriver.Database[] = []
  const open = () => {
    // A connection in WAL mode meets a lock here only while another process starts or recovers the log.
    const connection = new SqliteDriver(file, { timeout: 1000 })
    opened.push(connection)
    return connection
  }
  // The last connection to close folds the log into the file and removes it, and that one must be able to write.
  const close = () => {
    for (const connection of opened.toReversed()) connection.close()
  }
  try {
    createFolder(dirname(file))
    // With the dot it must be a folder.
    accessSync(`${dirname(file)}/.`, constants.W_OK)
    if (existsSync(file)) accessSync(file, constants.W_OK)
    const writer = open()
    switchToWal(writer)
    configure(writer)
    // From here on a write waits in WriteQueue, which leaves the event loop free.
    writer.pragma('busy_timeout = 0')
    // What a deleted message said is written over, and not only left out: a twentieth of what a send costs here.
    writer.pragma('secure_delete = ON')
    // In pages, 16 MB of log: the pages that many writes share are copied to the file less often.
    writer.pragma('wal_autocheckpoint = 4000')
    const reader = open()
    configure(reader)
    reader.pragma('query_only = ON')
    const reading = withPreparedStatements(reader)
    const writing = withPreparedStatements(writer)
    return {
      location: file,
      reader: new SqliteDialect({ database: reading }),
      writer: new SqliteDialect({ database: writing }),
      readNow: runNow(reading),
      writeNow: runNow(writing),
      contended: undefined,
      migrator: undefined,
      writers: 1,
      beginWrite: 'begin immediate',
      beginMigration: 'begin immediate',
      beginFrozen: 'begin immediate',
      beginContended: undefined,
      waitForLog: undefined,
      isBusy: (error) => hasCode(error, 'SQLITE_BUSY'),
      isUniqueViolation: (error) =>
        hasCode(error, 'SQLITE_CONSTRAINT_UNIQUE') ||
        hasCode(error, 'SQLITE_CONSTRAINT_PRIMARYKEY'),
      isLockTimeout: () => false,
      isOutdated: () => false,
      isPassing: () => false,
      openLine: undefined,
      // It was, when it was opened.
      check: async () => undefined,
      async identity() {
        const { dev, ino } = statSync(file, { bigint: true })
        return `${dev}:${ino}`
      },
      close: async () => close(),
    }
  } catch (error) {
    close()
    throw new DatabaseError(
      'cannot-open',
      `cannot open the database ${file}: ${explain(error, dirname(file))}`,
      { cause: error },
    )
  }
}

/** Like mkdir's `recursive`, which never returns for a folder below one that takes none (nodejs on /proc). */
function createFolder(folder: string): void {
  if (existsSync(folder)) return
  createFolder(dirname(folder))
  try {
    mkdirSync(folder)
  } catch (error) {
    // Unless another process was quicker.
    if (!existsSync(folder)) throw error
  }
}

/** SQLite refuses this at once, whatever the timeout, while another process switches the same new file. */
function switchToWal(connection: SqliteDriver.Database): void {
  for (let attempt = 1; ; attempt++) {
    try {
      connection.pragma('journal_mode = WAL')
      return
    } catch (error) {
      if (attempt === 10 || !hasCode(error, 'SQLITE_BUSY')) throw error
      // This does wait for the other one.
      connection.exec('begin immediate; commit')
    }
  }
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

function runNow(database: SqliteDatabase): RunNow {
  return ({ sql, parameters }) => {
    const statement = database.prepare(sql)
    if (statement.reader) return statement.all(parameters)
    statement.run(parameters)
    return []
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
