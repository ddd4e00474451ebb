import type pg from 'pg'
import { primaryKeys } from '../../tables.ts'
import type { ConnectionPool, Engine, EngineOptions } from '../engine.ts'
import { type Connection, statement } from '../session.ts'
import { inTransaction } from '../transactionControl.ts'
import { clientConfig } from './config.ts'
import { cannotOpen, isLockTimeout, isRetryable, isStalePlan, isUniqueViolation } from './errors.ts'
import { listen } from './notify.ts'
import { openPool } from './pool.ts'
import { describeServer, readUrl } from './url.ts'

/** How long we wait for an answer after the server's own statement timeout (ms). */
const ANSWER_GRACE_MS = 1_000

/** Maximum concurrent write transactions. */
const MAX_WRITERS = 2

/** Lock timeout in a shared transaction (ms). */
const SHORT_LOCK_TIMEOUT_MS = 10

/** Lock timeout for an organisation's log, which another transaction holds until its commit is synced (ms). */
const LOG_LOCK_TIMEOUT_MS = 100

/**
 * How long a transaction may wait for our next statement before the server ends it and frees its locks (ms). A stopped
 * process or a lost host blocks the others for so long.
 */
const IDLE_IN_TRANSACTION_MS = 3_000

/** The same for a schema change, which may compute between two statements. */
const IDLE_IN_MIGRATION_MS = 30_000

/** The same for a copy's source, which is idle while the target stores rows. */
const IDLE_WITH_WRITE_LOCK_MS = 15 * 60_000

/** The advisory lock of all processes that change a schema of this software. Never change it. */
const MIGRATION_LOCK = 4_097_235_811

/** Lock timeout for another process's schema change (ms). */
const MIGRATION_LOCK_TIMEOUT_MS = 10 * 60_000

/** Lock timeout for the copy's table lock (ms). */
const WRITE_LOCK_TIMEOUT_MS = 5_000

/** The setting's own value: our connections that read have changed theirs. */
const FIND_PROBLEM = `select case
    when pg_is_in_recovery() then 'the database is a standby that was not promoted'
    when (select reset_val from pg_settings where name = 'default_transaction_read_only') = 'on'
      then 'the database is read-only: default_transaction_read_only is on'
  end as problem`

const BEGIN_SNAPSHOT = statement('start transaction isolation level repeatable read read only')

/** Opens a server by its URL. Connects when the first statement needs it. @throws DatabaseError `bad-url` */
export function openPostgres(url: string, options: EngineOptions): Engine {
  const config = readUrl(url)
  const location = describeServer(config)
  const { poolSize, statementTimeout, connectTimeout } = options
  const writers = Math.min(MAX_WRITERS, Math.floor(poolSize / 2))
  const hasSpare = poolSize > 2
  const queryTimeout = statementTimeout + ANSWER_GRACE_MS
  const shortStatements = {
    statement_timeout: statementTimeout,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
  }
  const writing = {
    connectTimeout,
    settings: { ...shortStatements, lock_timeout: SHORT_LOCK_TIMEOUT_MS },
    query_timeout: queryTimeout,
    pipeline: true,
  }
  const connected = new Set<pg.Client>()
  const onClient = (client: pg.Client) => {
    connected.add(client)
    client.on('end', () => connected.delete(client))
  }
  const pools = {
    reader: openPool(config, onClient, {
      connectTimeout,
      settings: { ...shortStatements, default_transaction_read_only: 'on' },
      query_timeout: queryTimeout,
      max: poolSize - writers - Number(hasSpare),
    }),
    writer: openPool(config, onClient, { ...writing, max: writers }),
    contended: hasSpare ? openPool(config, onClient, { ...writing, max: 1 }) : undefined,
    // Without a statement timeout.
    migrator: openPool(config, onClient, {
      connectTimeout,
      settings: { idle_in_transaction_session_timeout: IDLE_IN_MIGRATION_MS },
      max: 1,
    }),
  }
  const close = async () => {
    // A server that has stopped answering does not answer the end of a connection either.
    const late = setTimeout(() => {
      for (const { connection } of connected) connection.stream.destroy()
    }, queryTimeout)
    await Promise.all(Object.values(pools).map((pool) => pool?.end()))
    await Promise.all(
      [...connected].map((client) => new Promise<void>((end) => client.on('end', end))),
    )
    clearTimeout(late)
  }
  let closing: Promise<unknown> | undefined
  return {
    location,
    exposure: undefined,
    reader: readerOf(pools.reader),
    findProblem: FIND_PROBLEM,
    findTime: 'select cast(extract(epoch from clock_timestamp()) * 1000 as bigint) as now',
    async snapshot(job) {
      const run = () =>
        pools.reader.lend((connection) =>
          inTransaction(connection, BEGIN_SNAPSHOT, () => job(connection)),
        )
      try {
        return await run()
      } catch (error) {
        if (!isStalePlan(error)) throw error
        return run()
      }
    },
    writer: pools.writer,
    contended: pools.contended,
    migrator: pools.migrator,
    writers,
    beginWrite: 'begin',
    beginMigration: `begin; set local lock_timeout = ${MIGRATION_LOCK_TIMEOUT_MS}; select pg_advisory_xact_lock(${MIGRATION_LOCK}); set local lock_timeout = 0`,
    beginWithWriteLock: `begin isolation level repeatable read; set local idle_in_transaction_session_timeout = ${IDLE_WITH_WRITE_LOCK_MS}; set local lock_timeout = ${WRITE_LOCK_TIMEOUT_MS}; lock table ${Object.keys(primaryKeys)} in share row exclusive mode`,
    waitForLog: `set local lock_timeout = ${LOG_LOCK_TIMEOUT_MS}`,
    beginContended: (lockTimeout) => `begin; set local lock_timeout = ${lockTimeout}`,
    cleanLog: undefined,
    isBusy: isLockTimeout,
    isUniqueViolation,
    isLockTimeout,
    isRetryable,
    listen: (onMessage) =>
      listen(
        { ...clientConfig(config, connectTimeout), query_timeout: queryTimeout },
        { statement_timeout: statementTimeout },
        onMessage,
        onClient,
      ),
    async check() {
      try {
        await pools.migrator.lend(async (connection) => {
          const rows = await connection.execute(statement('show transaction_read_only'))
          const [row] = rows as { transaction_read_only: string }[]
          if (row?.transaction_read_only === 'on') throw new Error('it is read-only')
        })
      } catch (error) {
        throw cannotOpen(location, error)
      }
    },
    identity: () =>
      pools.migrator.lend(async (connection) => {
        const [row] = await connection.execute(
          statement(
            'select system_identifier, oid from pg_control_system(), pg_database where datname = current_database()',
          ),
        )
        return JSON.stringify(row)
      }),
    async close() {
      closing ??= close()
      await closing
    },
  }
}

/** Runs each statement on any free connection. */
function readerOf(pool: ConnectionPool): Connection {
  return {
    dialect: 'postgres',
    execute: (statement) => pool.lend(async (connection) => connection.execute(statement)),
  }
}
