import { storeEvents } from '../eventLog/append.ts'
import { checkSchema, migrateDown, migrateTo, migrateToLatest } from '../migrations/migrate.ts'
import { findWriteRefusal } from '../migrations/records.ts'
import { WriteQueue, type WriteQueueOptions } from '../write/writeQueue.ts'
import type { EngineOptions } from './engine.ts'
import { DatabaseError } from './errors.ts'
import { openEngine } from './openEngine.ts'
import { Channel, type Peers } from './peers.ts'
import { run, Session, statement } from './session.ts'
import type { Transaction } from './transaction.ts'

export interface Database {
  /** For operators: the file, or the server without its password. */
  readonly location: string
  /** A warning for operators if other users of the machine can read the file; undefined on a server. */
  readonly exposure: string | undefined
  /** For reads outside of a write. Sees what was committed before the statement began. */
  readonly read: Session
  /** See {@link WriteQueue.write}. */
  write<T>(job: (tx: Transaction) => Promise<T>): Promise<T>
  /**
   * Calls `listener` with the organisations whose log grew, after each commit of this process and soon after those of others.
   * The messages of other processes may be lost: check from time to time as well.
   *
   * @returns a function that unsubscribes
   */
  onEvents(listener: (orgIds: ReadonlySet<string>) => void): () => void
  /** The other processes on this database. Undefined on SQLite. */
  readonly peers: Peers | undefined
  /**
   * Runs reads that see one state of the database. `job` must await nothing else: other reads may wait for it. It may run
   * twice, after a schema change by another process.
   */
  snapshot<T>(job: (session: Session) => Promise<T>): Promise<T>
  isUniqueViolation(error: unknown): boolean
  /**
   * Resolves when the database answers a read and takes this process's writes.
   *
   * @throws DatabaseError `read-only`, `unavailable`; `newer-schema` or `older-schema` as {@link watchSchema} found
   */
  ping(): Promise<void>
  /** Reads the clock of the database's server (ms since the Unix epoch). Undefined on SQLite: it has this machine's. */
  readonly clock: (() => Promise<number>) | undefined
  /** Runs `job` in a transaction that sees one state and excludes other writers. @throws DatabaseError `busy` */
  withWriteLock<T>(job: (tx: Transaction) => Promise<T>): Promise<T>
  /** Equal for two databases if they are the same one, whatever their URLs. @throws DatabaseError `cannot-open` */
  identity(): Promise<string>
  /** @throws DatabaseError `older-schema`, `newer-schema`, `wrong-schema`, `unfinished-copy`, `cannot-open` */
  checkSchema(): Promise<void>
  /**
   * Refuses further writes of this process while another process has changed the schema so that they would spoil data, and
   * `ping` as well. Call it every second.
   *
   * @returns the error that writes reject with; undefined if this process may write
   */
  watchSchema(): Promise<DatabaseError | undefined>
  /**
   * Migrates the schema to the newest version, under a lock.
   *
   * @throws DatabaseError `newer-schema`, `wrong-schema`, `unfinished-copy`, `busy`, `cannot-open`
   */
  migrateToLatest(): Promise<void>
  /** Migrates up or down to the version of one migration. Down deletes the data of later ones. */
  migrateTo(migration: string): Promise<void>
  /** Undoes the newest migration and deletes its data. */
  migrateDown(): Promise<void>
  /** Finishes waiting writes and closes all connections. SQLite then checkpoints its write-ahead log. */
  close(): Promise<void>
}

export interface DatabaseOptions extends Partial<WriteQueueOptions>, Partial<EngineOptions> {
  /** `sqlite:<path>` (creates the file and its folder) or `postgres://user:password@host:port/database`. */
  readonly url: string
}

/** The topic of messages about logs that grew. */
const EVENTS = 'events'

/**
 * Opens a database without changing its schema. Connects to PostgreSQL when the first statement needs it.
 *
 * @throws DatabaseError `bad-url` or `cannot-open`
 */
export function openDatabase(options: DatabaseOptions): Database {
  const engine = openEngine(options.url, {
    poolSize: options.poolSize ?? 10,
    statementTimeout: options.statementTimeout ?? 5_000,
    connectTimeout: options.connectTimeout ?? 2_000,
    mustExist: options.mustExist ?? false,
    checkpoints: options.checkpoints ?? 'server',
  })
  const read = new Session(engine.reader)
  const { findTime } = engine
  const queue = new WriteQueue(engine, storeEvents, {
    maxWaiting: options.maxWaiting ?? 10_000,
    busyTimeout: options.busyTimeout ?? 5_000,
  })
  const channel = engine.listen && new Channel(engine.listen)
  // After the commit: PostgreSQL serialises the commits of transactions that notify, syncs included.
  queue.onEvents((orgIds) => channel?.send(EVENTS, [...orgIds]))
  const migrate = (job: (tx: Transaction) => Promise<void>) =>
    queue.exclusive(engine.beginMigration, job)
  return {
    location: engine.location,
    exposure: engine.exposure,
    peers: channel,
    read,
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
    snapshot: (job) => engine.snapshot((connection) => job(new Session(connection))),
    isUniqueViolation: engine.isUniqueViolation,
    async ping() {
      const [row] = await run<{ problem: string | null }>(read, statement(engine.findProblem))
      if (queue.refusal) throw queue.refusal
      if (row?.problem) throw new DatabaseError('read-only', row.problem)
    },
    clock: findTime === undefined ? undefined : () => readClock(read, findTime),
    withWriteLock: (job) => queue.exclusive(engine.beginWithWriteLock, job),
    async identity() {
      await engine.check()
      return engine.identity()
    },
    async checkSchema() {
      await engine.check()
      await engine.migrator.lend((connection) => checkSchema(new Session(connection)))
    },
    async watchSchema() {
      queue.refusal = await findWriteRefusal(read)
      return queue.refusal
    },
    async migrateToLatest() {
      await engine.check()
      await migrate(migrateToLatest)
    },
    migrateTo: (migration) => migrate((tx) => migrateTo(tx, migration)),
    migrateDown: () => migrate(migrateDown),
    async close() {
      await queue.close()
      await Promise.all([channel?.close(), engine.close()])
    },
  }
}

async function readClock(session: Session, findTime: string): Promise<number> {
  const [row] = await run<{ now: number }>(session, statement(findTime))
  return (row as { now: number }).now
}
