import { Kysely, sql } from 'kysely'
import { openDialect } from './dialect.ts'
import { migrateDown, migrateToLatest } from './migrate.ts'
import { withShortWay } from './shortWay.ts'
import type { Tables } from './tables.ts'
import { type Tx, WriteQueue, type WriteQueueOptions } from './transaction.ts'

export interface Database {
  /** The file, or the server without its password: for an operator to read. */
  readonly location: string
  /** For reads outside a write. Sees what was committed before the statement began. */
  readonly read: Kysely<Tables>
  /** See {@link WriteQueue.write}. */
  write<T>(job: (tx: Tx) => Promise<T>): Promise<T>
  /** See {@link WriteQueue.onEvents}. Only of this process: others on the same database write without a word. */
  onEvents(listener: (orgIds: ReadonlySet<string>) => void): () => void
  /** Several reads that see one state of the database. `job` must await nothing but its reads: others wait for it. */
  snapshot<T>(job: (db: Kysely<Tables>) => Promise<T>): Promise<T>
  isUniqueViolation(error: unknown): boolean
  /** Resolves when the database answers a read. */
  ping(): Promise<void>
  /** Brings the schema to the newest version, under a lock. @throws DatabaseError `newer-schema` or `busy` */
  migrateToLatest(): Promise<void>
  /** Takes the newest migration back, data included. */
  migrateDown(): Promise<void>
  /** Finishes waiting writes, folds the write-ahead log into the database file and closes it. */
  close(): Promise<void>
}

export interface DatabaseOptions extends Partial<WriteQueueOptions> {
  /** `sqlite:<path>`; the file and its folder are created. */
  readonly url: string
}

/** Opens a database without changing its schema. @throws DatabaseError `bad-url` or `cannot-open` */
export function openDatabase(options: DatabaseOptions): Database {
  const dialect = openDialect(options.url)
  let snapshots = 0
  const reader = withShortWay(
    new Kysely<Tables>({ dialect: dialect.reader }),
    dialect.readNow,
    () => snapshots === 0,
  )
  const writer = new Kysely<Tables>({ dialect: dialect.writer })
  const queue = new WriteQueue(writer, dialect, {
    maxWaiting: options.maxWaiting ?? 10_000,
    busyTimeout: options.busyTimeout ?? 5_000,
  })
  return {
    location: dialect.location,
    read: reader,
    write: (job) => queue.write(job),
    onEvents: (listener) => queue.onEvents(listener),
    async snapshot(job) {
      // Whoever reads meanwhile waits for its end, and must not see its state.
      snapshots++
      try {
        return await reader.transaction().execute(job)
      } finally {
        snapshots--
      }
    },
    isUniqueViolation: dialect.isUniqueViolation,
    async ping() {
      await sql`select 1`.execute(reader)
    },
    migrateToLatest: () => queue.exclusive(migrateToLatest),
    migrateDown: () => queue.exclusive(migrateDown),
    async close() {
      await queue.close()
      await reader.destroy()
      await writer.destroy()
      // Kysely closes only a connection that it has used, and an open one keeps the log on the disk.
      dialect.close()
    },
  }
}
