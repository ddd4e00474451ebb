import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { inject } from 'vitest'
import { type Database, type DatabaseOptions, openDatabase } from './engine/database.ts'
import { kyselyOn } from './engine/kyselyOn.ts'
import { type Connection, connectionOf, Session, type Statement } from './engine/session.ts'

export { type Connection, connectionOf, kyselyOn, type Statement }

/** Creates a session on a connection of the test's own. */
export function createSession(connection: Connection): Session {
  return new Session(connection)
}

/** The database of this test run, as vitest.config.ts sets it. */
export type TestTarget =
  | { readonly dialect: 'sqlite' }
  | {
      readonly dialect: 'postgres'
      /** The URL of the server, with a user who can create databases. */
      readonly server: string
      /** The name of a migrated database, which tests copy. */
      readonly template: string
    }

declare module 'vitest' {
  interface ProvidedContext {
    testTarget: TestTarget
  }
}

/** The number of runs of a property test. PostgreSQL gets fewer, because each statement is a round trip. */
export function runs(sqlite: number, postgres: number): number {
  return inject('testTarget').dialect === 'sqlite' ? sqlite : postgres
}

/** A test's own database, without a connection to it. */
export interface TestStore extends AsyncDisposable {
  readonly url: string
}

/** Creates a database, on PostgreSQL with the migrated schema unless `empty`. Disposing of it removes it. */
export async function createTestStore({ empty = false } = {}): Promise<TestStore> {
  const target = inject('testTarget')
  if (target.dialect === 'sqlite') {
    const folder = await mkdtemp(join(tmpdir(), 'dowell-chat-test-'))
    return {
      url: `sqlite:${join(folder, 'test.db')}`,
      [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
    }
  }
  const { server, template } = target
  const name = `${template}_${randomBytes(6).toString('hex')}`
  const from = empty ? 'template0' : template
  await atServer(server, `create database ${name} template ${from} strategy file_copy`)
  const url = new URL(server)
  url.pathname = name
  return {
    url: url.href,
    [Symbol.asyncDispose]: () => atServer(server, `drop database ${name} with (force)`),
  }
}

/** Runs a statement on a connection of its own. */
export async function atServer(server: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: server })
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}

export interface TestDatabase extends Database, AsyncDisposable {
  readonly url: string
}

/** Creates a migrated database: `await using db = await createTestDb()`. Disposing of it removes it. */
export async function createTestDb(
  options: Omit<DatabaseOptions, 'url'> & {
    empty?: boolean
    /** Migrates to this migration instead of the newest. */
    migration?: string
  } = {},
): Promise<TestDatabase> {
  const { migration, empty = migration !== undefined, ...own } = options
  const store = await createTestStore({ empty })
  const database = openDatabase({ ...own, url: store.url })
  await (migration === undefined ? database.migrateToLatest() : database.migrateTo(migration))
  return {
    ...database,
    url: store.url,
    async [Symbol.asyncDispose]() {
      await database.close()
      await store[Symbol.asyncDispose]()
    },
  }
}
