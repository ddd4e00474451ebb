import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { inject } from 'vitest'
import { type Database, type DatabaseOptions, openDatabase } from './database.ts'

/** Where the tests of this run keep their data. vitest.config.ts says so. */
export type TestTarget =
  | { readonly dialect: 'sqlite' }
  | {
      readonly dialect: 'postgres'
      /** The server, as a user who may make databases. */
      readonly server: string
      /** The name of a migrated database there, to be copied. */
      readonly template: string
    }

declare module 'vitest' {
  interface ProvidedContext {
    testTarget: TestTarget
  }
}

/** How often a property is tried on each database: fewer times where an answer comes over a socket. */
export function runs(sqlite: number, postgres: number): number {
  return inject('testTarget').dialect === 'sqlite' ? sqlite : postgres
}

/** A database of a test's own that nobody is connected to yet. */
export interface TestStore extends AsyncDisposable {
  readonly url: string
}

/** An empty database, which is removed when it is disposed of; on PostgreSQL with a copy of the migrated schema. */
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

/** Runs a statement that belongs to no database. */
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

/** A fresh, migrated, real database, which is removed when it is disposed of: `await using db = await createTestDb()`. */
export async function createTestDb(
  options: Omit<DatabaseOptions, 'url'> & { empty?: boolean } = {},
): Promise<TestDatabase> {
  const { empty, ...own } = options
  const store = await createTestStore({ empty })
  const database = openDatabase({ ...own, url: store.url })
  await database.migrateToLatest()
  return {
    ...database,
    url: store.url,
    async [Symbol.asyncDispose]() {
      await database.close()
      await store[Symbol.asyncDispose]()
    },
  }
}
