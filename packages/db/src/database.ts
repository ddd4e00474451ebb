import { Kysely, sql } from 'kysely'
import { type DialectOptions, openDialect } from './dialect.ts'
import { checkSchema, migrateDown, migrateToLatest } from './migrate.ts'
import { Channel, type Peers } from './peers.ts'
import { withShortWay } from './shortWay.ts'
import type { Tables } from './tables.ts'
import type { Tx } from './transaction.ts'
import { WriteQueue, type WriteQueueOptions } from './write/writeQueue.ts'

export interface Database {
  /** The file, or the server without its password: for an operator to read. */
  readonly location: string
  /** For reads outside a write. Sees what was committed before the statement began. */
  readonly read: Kysely<Tables>
  /** See {@link WriteQueue.write}. */
  write<T>(job: (tx: Tx) => Promise<T>): Promise<T>
  /**
   * Calls `listener` with the organisations whose log grew: at once after a commit of this process, and soon after one of a
   * peer. A peer's word may be lost, so whoever must not miss an event also looks now and then. @returns what ends that
   */
  onEvents(listener: (orgIds: ReadonlySet<string>) => void): () => void
  /** The other processes on this database. Undefined on SQLite, whose processes know nothing of each other. */
  readonly peers: Peers | undefined
  /**
   * Several reads that see one state of the database. `job` must await nothing but its reads: others wait for it. It may run
   * twice, when another process changed the schema.
   */
  snapshot<T>(job: (db: Kysely<Tables>) => Promise<T>): Promise<T>
  isUniqueViolation(error: unknown): boolean
  /** Resolves when the database answers a read. */
  ping(): Promise<void>
  /** Runs `job` in a transaction that sees one state, while nobody else can write. @throws DatabaseError `busy` */
  frozen<T>(job: (tx: Tx) => Promise<T>): Promise<T>
  /** The same for the same database, by whatever URL it was opened, and for no other. @throws DatabaseError `cannot-open` */
  identity(): Promise<string>
  /** @throws DatabaseError `older-schema`, `newer-schema`, `unfinished-copy`, `cannot-open` */
  checkSchema(): Promise<void>
  /**
   * Brings the schema to the newest version, under a lock.
   *
   * @throws DatabaseError `newer-schema`, `unfinished-copy`, `busy`, `cannot-open`
   */
  migrateToLatest(): Promise<void>
  /** Takes the newest migration back, data included. */
  migrateDown(): Promise<void>
  /** Finishes waiting writes and closes all connections; SQLite's write-ahead log is folded into the database file. */
  close(): Promise<void>
}

export interface DatabaseOptions extends Partial<WriteQueueOptions>, Partial<DialectOptions> {
  /** `sqlite:<path>`, whose file and folder are created, or `postgres://user:password@host:port/database`. */
  readonly url: string
}

/** The topic on which peers are told whose log grew. */
const EVENTS = 'events'

/**
 * Opens a database without changing its schema. A PostgreSQL server is called when it is first needed.
 *
 * @throws DatabaseError `bad-url` or `cannot-open`
 */
export function openDatabase(options: DatabaseOptions): Database {
  const dialect = openDialect(options.url, {
    poolSize: options.poolSize ?? 10,
    statementTimeout: options.statementTimeout ?? 5_000,
    mustExist: options.mustExist ?? false,
  })
  let snapshots = 0
  const reader = withShortWay(
    new Kysely<Tables>({ dialect: dialect.reader }),
    dialect.readNow,
    () => snapshots === 0,
  )
  const writer = new Kysely<Tables>({ dialect: dialect.writer })
  const migrator = dialect.migrator ? new Kysely<Tables>({ dialect: dialect.migrator }) : writer
  const contended = dialect.contended ? new Kysely<Tables>({ dialect: dialect.contended }) : writer
  const queue = new WriteQueue(writer, contended, dialect, {
    maxWaiting: options.maxWaiting ?? 10_000,
    busyTimeout: options.busyTimeout ?? 5_000,
  })
  const channel = dialect.openLine && new Channel(dialect.openLine)
  // After the commit and not in it: PostgreSQL lets the commits of all who notify pass one at a time, syncs included.
  queue.onEvents((orgIds) => channel?.send(EVENTS, [...orgIds]))
  return {
    location: dialect.location,
    peers: channel,
    read: reader,
    write: (job) => queue.write(job),
    onEvents(listener) {
      const stops = [
        queue.onEvents(listener),
        channel?.on(EVENTS, (orgIds) => listener(new Set(orgIds as string[]))),
      ]
      return () => {
        for (const stop of stops) stop?.()
      }
    },
    async snapshot(job) {
      const run = () =>
        reader
          .transaction()
          .setIsolationLevel('repeatable read')
          .setAccessMode('read only')
          .execute(job)
      // SQLite has one connection that reads: whoever reads meanwhile waits for the end, and must not see this state.
      snapshots++
      try {
        return await run().catch((error) => {
          if (!dialect.isOutdated(error)) throw error
          return run()
        })
      } finally {
        snapshots--
      }
    },
    isUniqueViolation: dialect.isUniqueViolation,
    async ping() {
      await sql`select 1`.execute(reader)
    },
    frozen: (job) => queue.exclusive(migrator, dialect.beginFrozen, job),
    async identity() {
      await dialect.check()
      return dialect.identity()
    },
    async checkSchema() {
      await dialect.check()
      await checkSchema(migrator)
    },
    async migrateToLatest() {
      await dialect.check()
      await queue.exclusive(migrator, dialect.beginMigration, migrateToLatest)
    },
    migrateDown: () => queue.exclusive(migrator, dialect.beginMigration, migrateDown),
    async close() {
      await queue.close()
      // Not by Kysely, which closes only a connection that it has used; an open one keeps the log on the disk.
      await Promise.all([channel?.close(), dialect.close()])
    },
  }
}
