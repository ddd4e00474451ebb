import {
  PostgresAdapter,
  PostgresDialect,
  type PostgresPool,
  type PostgresPoolClient,
} from 'kysely'
import pg from 'pg'
import { type ConnectionOptions, parse, toClientConfig } from 'pg-connection-string'
import type { DialectOptions, OpenedDialect } from './dialect.ts'
import { DatabaseError } from './errors.ts'
import type { Line } from './peers.ts'
import { primaryKeys } from './tables.ts'

/** How long a connection may take to come about, and a query to get one, in milliseconds. */
const CONNECT_TIMEOUT = 2_000

/** How long after the server should have given a statement up nobody waits for its answer any more, in milliseconds. */
const ANSWER_GRACE = 1_000

/** Transactions that write at once, at most. */
const MAX_WRITERS = 2

/** How long a statement of a shared transaction waits for a lock that another transaction has, in milliseconds. */
const BRIEFLY = 10

/** How long it waits for an organisation's log, which another one has until its commit is synced. */
const LOG_WAIT = 100

/**
 * How long the server lets a transaction wait for our next statement, in milliseconds, before it ends it and frees its locks.
 * A process that was stopped, or whose host is lost, holds up the others for so long.
 */
const IDLE_IN_TRANSACTION = 3_000

/** The same while the schema changes, which may compute between two statements. */
const IDLE_IN_MIGRATION = 30_000

/** The same of a copy's source, in which nothing happens while the target stores rows. */
const IDLE_IN_FROZEN = 15 * 60_000

/**
 * When the server gives up a connection whose other end is gone: after 10 s in which nothing that it sent was acknowledged or
 * taken, and after 25 s of silence. It would otherwise send for 15 minutes, and listen for 2 hours.
 */
const DEAD_PEER = {
  tcp_user_timeout: 10_000,
  tcp_keepalives_idle: 10,
  tcp_keepalives_interval: 5,
  tcp_keepalives_count: 3,
}

/** How long a connection is silent before we ask whether the server is there, in milliseconds. */
const KEEP_ALIVE_DELAY = 10_000

/** Of everyone who works on schemas of this software: any number, and the same one for ever. */
const MIGRATION_LOCK = 4_097_235_811

/** How long a process waits for others that change the schema, in milliseconds. */
const MIGRATION_WAIT = 10 * 60_000

/** Where the processes on one database hear of each other. */
const CHANNEL = 'dowell_chat'

/** How long somebody who lets nobody else write waits for those who do, in milliseconds. */
const FREEZE_WAIT = 5_000

const URL_HELP =
  'DATABASE_URL must name a PostgreSQL server as postgres://chat:password@db.example.com:5432/chat'

/** Unlike libpq, none of these falls back to an open connection. */
const SSL_MODES = ['disable', 'require', 'verify-ca', 'verify-full']

/** Knows a PostgreSQL server by its URL; connects when it is first asked for something. @throws DatabaseError `bad-url` */
export function openPostgres(url: string, options: DialectOptions): OpenedDialect {
  const config = readUrl(url)
  const location = describe(config)
  const { poolSize, statementTimeout } = options
  const writers = Math.min(MAX_WRITERS, Math.floor(poolSize / 2))
  const hasSpare = poolSize > 2
  const queryTimeout = statementTimeout + ANSWER_GRACE
  const shortStatements = {
    statement_timeout: statementTimeout,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION,
  }
  const writing = {
    session: { ...shortStatements, lock_timeout: BRIEFLY },
    query_timeout: queryTimeout,
    pipeline: true,
  }
  const connected = new Set<pg.Client>()
  const note = (client: pg.Client) => {
    connected.add(client)
    client.on('end', () => connected.delete(client))
  }
  const pools = {
    reader: openPool(config, note, {
      session: { ...shortStatements, default_transaction_read_only: 'on' },
      query_timeout: queryTimeout,
      max: poolSize - writers - Number(hasSpare),
    }),
    writer: openPool(config, note, { ...writing, max: writers }),
    contended: hasSpare ? openPool(config, note, { ...writing, max: 1 }) : undefined,
    // A schema change may take its time.
    migrator: openPool(config, note, {
      session: { idle_in_transaction_session_timeout: IDLE_IN_MIGRATION },
      max: 1,
    }),
  }
  const close = async () => {
    // A server that says nothing any more does not even answer a goodbye.
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
    reader: new Dialect({ pool: pools.reader }),
    writer: new Dialect({ pool: pools.writer }),
    readNow: undefined,
    writeNow: undefined,
    contended: pools.contended && new Dialect({ pool: pools.contended }),
    migrator: new Dialect({ pool: pools.migrator }),
    writers,
    beginWrite: 'begin',
    beginMigration: `begin; set local lock_timeout = ${MIGRATION_WAIT}; select pg_advisory_xact_lock(${MIGRATION_LOCK}); set local lock_timeout = 0`,
    beginFrozen: `begin isolation level repeatable read; set local idle_in_transaction_session_timeout = ${IDLE_IN_FROZEN}; set local lock_timeout = ${FREEZE_WAIT}; lock table ${Object.keys(primaryKeys)} in share row exclusive mode`,
    waitForLog: `set local lock_timeout = ${LOG_WAIT}`,
    beginContended: (lockTimeout) => `begin; set local lock_timeout = ${lockTimeout}`,
    isBusy: isLockTimeout,
    isUniqueViolation: (error) => codeOf(error) === '23505',
    isLockTimeout,
    isOutdated,
    isPassing: (error) => PASSING.has(codeOf(error) ?? '') || isUnavailable(error),
    openLine: (onNotice) =>
      openLine(
        { ...connectionConfig(config), query_timeout: queryTimeout },
        { statement_timeout: statementTimeout },
        onNotice,
        note,
      ),
    async check() {
      try {
        const client = await pools.migrator.connect()
        try {
          const { rows } = await client.query('show transaction_read_only', [])
          const [row] = rows as { transaction_read_only: string }[]
          if (row?.transaction_read_only === 'on') throw new Error('it is read-only')
        } finally {
          client.release()
        }
      } catch (error) {
        throw cannotOpen(location, error)
      }
    },
    async identity() {
      const client = await pools.migrator.connect()
      try {
        const { rows } = await client.query(
          'select system_identifier, oid from pg_control_system(), pg_database where datname = current_database()',
          [],
        )
        return JSON.stringify(rows[0])
      } finally {
        client.release()
      }
    },
    async close() {
      closing ??= close()
      await closing
    },
  }
}

/** Our migrations run in a transaction that has our lock. */
class Adapter extends PostgresAdapter {
  override get supportsTransactionalDdl() {
    return false
  }
  override async acquireMigrationLock() {}
  override async releaseMigrationLock() {}
}

class Dialect extends PostgresDialect {
  override createAdapter() {
    return new Adapter()
  }
}

function readUrl(url: string): ConnectionOptions {
  // What stands at the wrong place may be a piece of the password.
  if (!/^postgres(?:ql)?:\/\/(?:[^@/?#]*@)?[^@/?#]*(?:\/[^@/?#]*)?(?:\?[^@#]*)?$/.test(url)) {
    throw new DatabaseError(
      'bad-url',
      `${URL_HELP}; of other characters than letters and digits in a name or password, write the percent code`,
    )
  }
  let config: ConnectionOptions
  try {
    config = parse(url, { useLibpqCompat: true })
  } catch (error) {
    // Not with the cause, which may repeat the URL: a file that sslrootcert names, or what makes no URL at all.
    const { code } = error as NodeJS.ErrnoException
    throw new DatabaseError(
      'bad-url',
      code === 'ENOENT' || code === 'EACCES'
        ? `${URL_HELP}; a certificate that it names cannot be read`
        : /verify-ca/.test(String(error))
          ? `${URL_HELP}; sslmode=verify-ca needs sslrootcert`
          : URL_HELP,
    )
  }
  const mode = config.sslmode
  if (mode !== undefined && !SSL_MODES.includes(String(mode))) {
    throw new DatabaseError(
      'bad-url',
      `${URL_HELP}; sslmode must be one of ${SSL_MODES.join(', ')}`,
    )
  }
  return config
}

function describe({ host, port, user, database }: ConnectionOptions): string {
  const name = host?.includes(':') ? `[${host}]` : (host ?? '')
  return `postgres://${user ? `${user}@` : ''}${name}${port ? `:${port}` : ''}/${database ?? ''}`
}

/** Counts and times fit a number: they stay below 2^53. */
const types = {
  getTypeParser(oid: number, format?: 'text' | 'binary') {
    return oid === pg.types.builtins.INT8 ? Number : pg.types.getTypeParser(oid, format)
  },
} as pg.CustomTypesConfig

function connectionConfig(config: ConnectionOptions): pg.ClientConfig {
  return {
    application_name: 'dowell-chat',
    ...toClientConfig(config),
    connectionTimeoutMillis: CONNECT_TIMEOUT,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_DELAY,
  }
}

/** Settings of a connection by their names. */
type Session = Readonly<Record<string, string | number>>

/** Not as parameters of the start: a pooler refuses those that it does not know, or forgets them. */
function setAll(session: Session): string {
  return Object.entries({ ...DEAD_PEER, ...session })
    .map(([name, value]) => `set ${name} = ${value}`)
    .join('; ')
}

/** A connection that hears the channel from the moment at which this resolves. */
async function openLine(
  config: pg.ClientConfig,
  session: Session,
  onNotice: (notice: string) => void,
  note: (client: pg.Client) => void,
): Promise<Line> {
  const client = new pg.Client(config)
  note(client)
  const lost = new Promise<void>((resolve) =>
    client.on('error', () => resolve()).on('end', resolve),
  )
  client.on('notification', ({ payload }) => onNotice(payload ?? ''))
  try {
    await client.connect()
    await client.query(`listen ${CHANNEL}; ${setAll(session)}`)
  } catch (error) {
    await client.end().catch(() => undefined)
    throw error
  }
  return {
    lost,
    async send(notices) {
      const text = `select pg_notify('${CHANNEL}', notice) from unnest($1::text[]) as notice`
      await client.query({ name: 'notify', text, values: [notices] })
    },
    end: () => client.end(),
  }
}

function openPool(
  config: ConnectionOptions,
  note: (client: pg.Client) => void,
  { session, ...own }: pg.PoolConfig & { session: Session },
): PostgresPool {
  const pool = new pg.Pool({
    ...connectionConfig(config),
    types,
    async onConnect(client) {
      note(client as pg.Client)
      const query = { text: setAll(session), query_timeout: CONNECT_TIMEOUT }
      await client.query(query)
    },
    ...own,
  })
  // An idle connection that dies is replaced when one is needed.
  pool.on('error', () => undefined)
  return {
    options: {},
    async connect() {
      let client: pg.PoolClient
      try {
        client = await pool.connect()
      } catch (error) {
        throw unavailable(error)
      }
      return new PooledClient(client) as unknown as PostgresPoolClient
    },
    end: () => pool.end(),
  }
}

/** One connection while it is in use. It goes back to the pool unless something happened to it. */
class PooledClient {
  readonly #client: pg.PoolClient
  readonly #onError = () => {
    this.#broken = true
  }
  #broken = false

  constructor(client: pg.PoolClient) {
    this.#client = client
    // Between two statements nobody else listens.
    client.on('error', this.#onError)
  }

  async query(text: string, values: readonly unknown[]): Promise<pg.QueryResult> {
    const name = nameOf(text, values)
    const isAlone = this.#client.getTransactionStatus() === 'I'
    try {
      return await this.#ask(text, values, name)
    } catch (error) {
      if (name === undefined || !isOutdated(error)) throw error
      if (names.get(text) === name) names.clear()
      // In a transaction nothing more can be asked.
      if (!isAlone) throw error
      return this.#ask(text, values, undefined)
    }
  }

  async #ask(text: string, values: readonly unknown[], name: string | undefined) {
    try {
      return await this.#client.query({ text, name, values: [...values] })
    } catch (error) {
      // There the server quotes rows and parameters, and what people wrote is for no log.
      if (error instanceof pg.DatabaseError) error.detail = error.where = undefined
      if (isLost(error)) {
        this.#broken = true
        throw unavailable(error)
      }
      if (codeOf(error) === '57014') {
        throw new DatabaseError('busy', 'a statement took too long', { cause: error })
      }
      throw error
    }
  }

  release(): void {
    this.#client.off('error', this.#onError)
    this.#client.release(this.#broken)
  }
}

/**
 * The texts of statements that are kept prepared. The bound guards against a query that would put values into its text.
 * No name is given twice: what is not in here any more is prepared anew, on every connection.
 */
const names = new Map<string, string>()
let namesGiven = 0

function nameOf(text: string, values: readonly unknown[]): string | undefined {
  if (values.length === 0) return undefined
  let name = names.get(text)
  if (name === undefined && names.size < 500) {
    name = `s${namesGiven++}`
    names.set(text, name)
  }
  return name
}

function codeOf(error: unknown): string | undefined {
  return error instanceof pg.DatabaseError ? error.code : undefined
}

/** https://www.postgresql.org/docs/current/errcodes-appendix.html */
const PASSING = new Set([
  '23505', // unique_violation: what was not there a moment ago is there now
  '40001', // serialization_failure
  '40P01', // deadlock_detected
  '55P03', // lock_not_available
  '0A000', // feature_not_supported: see isOutdated
])

/** "cached plan must not change result type": a statement was prepared before the schema changed. */
function isOutdated(error: unknown): boolean {
  return codeOf(error) === '0A000'
}

function isLockTimeout(error: unknown): boolean {
  return codeOf(error) === '55P03'
}

/**
 * The server ends the connection with these, or refuses to work on it: it stops, starts, is not the primary (25006 to a
 * write, 55000 to a question about its write-ahead log), or has waited for us in a transaction for too long.
 */
const LOST = /^(?:08...|53...|57P..|25006|25P03|25P04|55000)$/

function isLost(error: unknown): boolean {
  if (error instanceof pg.DatabaseError) return LOST.test(error.code ?? '')
  const { code, message } = error as NodeJS.ErrnoException
  return (
    typeof code === 'string' ||
    /^(?:Connection terminated|Query read timeout|Client )/.test(message)
  )
}

function isUnavailable(error: unknown): boolean {
  return error instanceof DatabaseError && error.reason === 'unavailable'
}

function unavailable(cause: unknown): DatabaseError {
  return new DatabaseError('unavailable', `the database does not answer: ${explain(cause)}`, {
    cause,
  })
}

/** The same failure, at the start. */
export function cannotOpen(location: string, error: unknown): DatabaseError {
  const cause = isUnavailable(error) ? (error as DatabaseError).cause : error
  return new DatabaseError(
    'cannot-open',
    `cannot open the database ${location}: ${explain(cause)}`,
    {
      cause,
    },
  )
}

/** Why, in the words of an operator. The server's own words name users and databases, and never a password. */
function explain(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  switch (code) {
    case 'ECONNREFUSED':
      return 'nobody listens at this address'
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'its host is not known'
    case 'ENOENT':
      return 'there is no such socket'
    case '28P01':
      return 'the password is wrong'
    case '3D000':
      return 'there is no database of this name'
    case '25006':
      return 'it is read-only'
    case '42501':
      return `this user may not make tables: ${message}`
    default:
      break
  }
  if (/password must be a string/.test(message)) return 'it wants a password, and there is none'
  if (/timeout/i.test(message)) return `it did not answer in time`
  return message
}
