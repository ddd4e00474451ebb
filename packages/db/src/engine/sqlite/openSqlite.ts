import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import Sqlite from 'better-sqlite3'
import type { Engine, EngineOptions } from '../engine.ts'
import { DatabaseError } from '../errors.ts'
import { statement } from '../session.ts'
import { inTransaction } from '../transactionControl.ts'
import { SqliteConnection, SqlitePool } from './connection.ts'
import { explain, hasCode } from './errors.ts'
import { LogCleaner } from './logCleaner.ts'
import { createFile, createFolder, findExposure } from './permissions.ts'

const URL_HELP =
  'DATABASE_URL must be "sqlite:" and the path of a file, for example sqlite:./data/dowell-chat.db'

/**
 * Opens a file by the rest of its URL. Creates the file and its folder if they are missing.
 *
 * @throws DatabaseError `bad-url` or `cannot-open`
 */
export function openSqlite(name: string, { mustExist, checkpoints }: EngineOptions): Engine {
  // Refuse sqlite://data/chat.db: after two slashes the next word would be a host.
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
  return openFile(file, checkpoints)
}

function openFile(file: string, checkpoints: EngineOptions['checkpoints']): Engine {
  const opened: Sqlite.Database[] = []
  const open = () => {
    // In WAL mode, opening waits only while another process creates or recovers the log.
    const connection = new Sqlite(file, { timeout: 1000 })
    opened.push(connection)
    return connection
  }
  // Close the writer last: the last connection checkpoints and removes the log.
  const close = () => {
    for (const connection of opened.toReversed()) connection.close()
  }
  try {
    createFolder(dirname(file))
    // The dot requires a folder.
    accessSync(`${dirname(file)}/.`, constants.W_OK)
    createFile(file)
    if (existsSync(file)) accessSync(file, constants.W_OK)
    const writer = open()
    switchToWal(writer)
    configure(writer)
    // Writes wait for the lock in WriteQueue, which does not block the event loop.
    writer.pragma('busy_timeout = 0')
    // Overwrite deleted text in the file. Costs 5 % of a send.
    writer.pragma('secure_delete = ON')
    // In pages (16 MB of log): checkpoint pages that many writes share less often.
    writer.pragma(`wal_autocheckpoint = ${checkpoints === 'server' ? 4000 : 0}`)
    const reader = open()
    configure(reader)
    reader.pragma('query_only = ON')
    const reading = new SqlitePool(new SqliteConnection(reader))
    const writing = new SqlitePool(new SqliteConnection(writer))
    const cleaner = checkpoints === 'server' ? new LogCleaner(writing) : undefined
    return {
      location: file,
      exposure: findExposure(file),
      reader: reading,
      findTime: undefined,
      // Only a write finds a full disk or a file system that became read-only.
      findProblem: 'select null as problem',
      snapshot: (job) =>
        reading.lend((connection) =>
          inTransaction(connection, statement('begin'), () => job(connection)),
        ),
      writer: writing,
      contended: undefined,
      migrator: writing,
      writers: 1,
      beginWrite: 'begin immediate',
      beginMigration: 'begin immediate',
      beginWithWriteLock: 'begin immediate',
      beginContended: undefined,
      waitForLog: undefined,
      cleanLog: cleaner && (() => cleaner.schedule()),
      isBusy: (error) => hasCode(error, 'SQLITE_BUSY'),
      isUniqueViolation: (error) =>
        hasCode(error, 'SQLITE_CONSTRAINT_UNIQUE') ||
        hasCode(error, 'SQLITE_CONSTRAINT_PRIMARYKEY'),
      isLockTimeout: () => false,
      isRetryable: () => false,
      listen: undefined,
      // openSqlite has checked it.
      check: async () => undefined,
      async identity() {
        const { dev, ino } = statSync(file, { bigint: true })
        return `${dev}:${ino}`
      },
      async close() {
        cleaner?.close()
        close()
      },
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

/** While another process switches the same new file, SQLite refuses this at once, whatever the timeout. */
function switchToWal(connection: Sqlite.Database): void {
  for (let attempt = 1; ; attempt++) {
    try {
      connection.pragma('journal_mode = WAL')
      return
    } catch (error) {
      if (attempt === 10 || !hasCode(error, 'SQLITE_BUSY')) throw error
      // This statement waits for the other process.
      connection.exec('begin immediate; commit')
    }
  }
}

function configure(connection: Sqlite.Database): void {
  connection.pragma('foreign_keys = ON')
  // A committed write survives a power failure: https://sqlite.org/pragma.html#pragma_synchronous
  connection.pragma('synchronous = FULL')
  connection.pragma('trusted_schema = OFF')
}
