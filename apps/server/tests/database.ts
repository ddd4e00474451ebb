import Sqlite from 'better-sqlite3'
import pg from 'pg'
import type { TestApp } from './support.ts'

/** A connection of the test's own to a server's database, past all of the server's code. */
export function openDirectly(app: Pick<TestApp, 'databaseUrl'>): Sqlite.Database & Disposable {
  const connection = new Sqlite(app.databaseUrl.slice('sqlite:'.length))
  return Object.assign(connection, { [Symbol.dispose]: () => void connection.close() })
}

export type Rows = Record<string, unknown>[]

/** Runs a statement past all of the server's code, on either database; a `?` stands for a parameter. */
export async function ask(
  app: Pick<TestApp, 'databaseUrl'>,
  sql: string,
  ...parameters: (string | number)[]
): Promise<Rows> {
  if (app.databaseUrl.startsWith('sqlite:')) {
    using connection = openDirectly(app)
    const statement = connection.prepare(sql)
    if (statement.reader) return statement.all(...parameters) as Rows
    statement.run(...parameters)
    return []
  }
  const client = new pg.Client({ connectionString: app.databaseUrl, types: numbers })
  await client.connect()
  try {
    let number = 0
    const { rows } = await client.query<Rows[number]>(
      sql.replaceAll('?', () => `$${++number}`),
      parameters,
    )
    return rows
  } finally {
    await client.end()
  }
}

/** Counts and times as numbers, as SQLite has them. */
const numbers = {
  getTypeParser: (oid: number, format?: 'text') =>
    oid === pg.types.builtins.INT8 ? Number : pg.types.getTypeParser(oid, format),
} as pg.CustomTypesConfig

/** Every row of every table. */
export function dump(database: Sqlite.Database): Record<string, Rows> {
  return Object.fromEntries(
    tablesOf(database).map((table) => [
      table,
      database.prepare(`select * from "${table}"`).all() as Rows,
    ]),
  )
}

/** Every row of one organisation. */
export function dumpOf(database: Sqlite.Database, orgId: string): Record<string, Rows> {
  const owned = tablesOf(database).flatMap((table) => {
    const columns = database.pragma(`table_info("${table}")`) as { name: string }[]
    const owner = table === 'organisations' ? 'id' : 'org_id'
    if (!columns.some(({ name }) => name === owner)) return []
    const rows = database.prepare(`select * from "${table}" where "${owner}" = ?`).all(orgId)
    return [[table, rows as Rows] as const]
  })
  return Object.fromEntries(owned)
}

function tablesOf(database: Sqlite.Database): string[] {
  return database
    .prepare("select name from sqlite_schema where type = 'table' order by name")
    .pluck()
    .all() as string[]
}

type Run = (this: Sqlite.Statement, ...parameters: unknown[]) => unknown

/**
 * Notes every statement that this process runs on any SQLite database, where the driver runs it. The server under test
 * is in this process.
 */
export function captureStatements(): Disposable & {
  /** The statements since the last time that this was asked. */
  take(): string[]
} {
  const probe = new Sqlite(':memory:')
  const prototype = Object.getPrototypeOf(probe.prepare('select 1')) as Record<string, Run>
  probe.close()
  const original = { all: prototype.all, get: prototype.get, run: prototype.run } as Record<
    string,
    Run
  >
  let noted: string[] = []
  for (const [name, run] of Object.entries(original)) {
    prototype[name] = function (...parameters) {
      noted.push(this.source)
      return run.apply(this, parameters)
    }
  }
  return {
    take() {
      const taken = noted
      noted = []
      return taken
    },
    [Symbol.dispose]: () => void Object.assign(prototype, original),
  }
}
