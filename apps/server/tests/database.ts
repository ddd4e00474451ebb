import Sqlite from 'better-sqlite3'
import pg from 'pg'
import type { TestApp } from './support.ts'

export type Rows = Record<string, unknown>[]

/** A connection of the test's own to a server's database, past all of the server's code. */
export interface Connection extends AsyncDisposable {
  readonly dialect: 'sqlite' | 'postgres'
  /** Runs a statement; a `?` stands for a parameter. */
  ask(sql: string, ...parameters: (string | number)[]): Promise<Rows>
  /** Every row of every table; or what these organisations own. */
  dump(...orgIds: string[]): Promise<Record<string, Rows>>
}

type Driver = Omit<Connection, 'dump'>

export async function openDirectly(app: Pick<TestApp, 'databaseUrl'>): Promise<Connection> {
  const url = app.databaseUrl
  const driver = url.startsWith('sqlite:') ? openSqlite(url) : await openPostgres(url)
  let tables: Promise<[table: string, columns: string[]][]> | undefined
  return {
    ...driver,
    async dump(...orgIds) {
      tables ??= tablesOf(driver)
      const rows: Record<string, Rows> = {}
      for (const [table, columns] of await tables) {
        const owner = table === 'organisations' ? 'id' : 'org_id'
        if (orgIds.length > 0 && !columns.includes(owner)) continue
        const where = orgIds.length > 0 ? `where "${owner}" in (${orgIds.map(() => '?')})` : ''
        const sql = `select * from "${table}" ${where} order by ${columns.map((_, at) => at + 1)}`
        rows[table] = await driver.ask(sql, ...orgIds)
      }
      return rows
    },
  }
}

/** Runs a single statement. */
export async function ask(
  app: Pick<TestApp, 'databaseUrl'>,
  ...statement: Parameters<Connection['ask']>
): Promise<Rows> {
  await using connection = await openDirectly(app)
  return await connection.ask(...statement)
}

function openSqlite(url: string): Driver {
  const connection = new Sqlite(url.slice('sqlite:'.length))
  return {
    dialect: 'sqlite',
    async ask(sql, ...parameters) {
      const statement = connection.prepare(sql)
      if (statement.reader) return statement.all(...parameters) as Rows
      statement.run(...parameters)
      return []
    },
    async [Symbol.asyncDispose]() {
      connection.close()
    },
  }
}

async function openPostgres(url: string): Promise<Driver> {
  const client = new pg.Client({ connectionString: url, types: numbers })
  await client.connect()
  return {
    dialect: 'postgres',
    async ask(sql, ...parameters) {
      let number = 0
      const text = sql.replaceAll('?', () => `$${++number}`)
      return (await client.query<Rows[number]>(text, parameters)).rows
    },
    [Symbol.asyncDispose]: () => client.end(),
  }
}

/** Counts and times as numbers, as SQLite has them. */
const numbers = {
  getTypeParser: (oid: number, format?: 'text') =>
    oid === pg.types.builtins.INT8 ? Number : pg.types.getTypeParser(oid, format),
} as pg.CustomTypesConfig

const columns = {
  sqlite: `select t.name as "table", c.name as "column" from sqlite_schema t, pragma_table_info(t.name) c
    where t.type = 'table' order by t.name, c.cid`,
  postgres: `select table_name as "table", column_name as "column" from information_schema.columns
    where table_schema = current_schema() order by table_name, ordinal_position`,
}

async function tablesOf({ dialect, ask }: Driver): Promise<[table: string, columns: string[]][]> {
  const found = (await ask(columns[dialect])) as { table: string; column: string }[]
  const tables = Map.groupBy(found, ({ table }) => table)
  return [...tables].map(([table, rows]) => [table, rows.map(({ column }) => column)])
}

/** A statement of SQLite, which knows its database, or a client of PostgreSQL, which knows the name of its database. */
interface Watched {
  readonly source?: string
  readonly database?: string | { readonly name: string }
}

type Method = (this: Watched, ...parameters: unknown[]) => unknown

/** Notifications, the settings of a new connection, the epoch of pages: they depend on the time, not on the call. */
const UNRELATED = /pg_notify|^set tcp_user_timeout|as "firstEpoch"$/

/**
 * Records the statements that this process runs on one database, where the driver runs them. The server under test runs in
 * this process.
 */
export function captureStatements({ databaseUrl }: { readonly databaseUrl: string }): Disposable & {
  /** The statements since the last call. */
  take(): string[]
} {
  const isWatched = (name: string | undefined) => name !== undefined && databaseUrl.endsWith(name)
  const probe = new Sqlite(':memory:')
  const statement = Object.getPrototypeOf(probe.prepare('select 1')) as Record<string, Method>
  probe.close()
  const client = pg.Client.prototype as unknown as Record<string, Method>
  let noted: string[] = []
  const stops = [
    ...['all', 'get', 'run'].map((name) =>
      watch(statement, name, ({ database, source }) =>
        typeof database === 'object' && isWatched(database.name) ? source : undefined,
      ),
    ),
    watch(client, 'query', ({ database }, query) => {
      if (typeof database !== 'string' || !isWatched(database)) return undefined
      return typeof query === 'string' ? query : (query as pg.QueryConfig).text
    }),
  ]

  function watch(
    prototype: Record<string, Method>,
    name: string,
    textOf: (self: Watched, query: unknown) => string | undefined,
  ): () => void {
    const original = prototype[name] as Method
    prototype[name] = function (...parameters) {
      const text = textOf(this, parameters[0])
      if (text !== undefined && !UNRELATED.test(text)) noted.push(text)
      return original.apply(this, parameters)
    }
    return () => {
      prototype[name] = original
    }
  }

  return {
    take() {
      const taken = noted
      noted = []
      return taken
    },
    [Symbol.dispose]: () => {
      for (const stop of stops) stop()
    },
  }
}
