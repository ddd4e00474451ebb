import Sqlite from 'better-sqlite3'
import type { TestApp } from './support.ts'

/** A connection of the test's own to a server's database, past all of the server's code. */
export function openDirectly(app: Pick<TestApp, 'databaseUrl'>): Sqlite.Database & Disposable {
  const connection = new Sqlite(app.databaseUrl.slice('sqlite:'.length))
  return Object.assign(connection, { [Symbol.dispose]: () => void connection.close() })
}

export type Rows = Record<string, unknown>[]

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
