import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Database, type DatabaseOptions, openDatabase } from './database.ts'

export interface TestDatabase extends Database, AsyncDisposable {
  readonly url: string
}

/** A fresh, migrated, real database in a folder of its own, which is removed with it: `await using db = …`. */
export async function createTestDb(
  options: Omit<DatabaseOptions, 'url'> = {},
): Promise<TestDatabase> {
  const folder = await mkdtemp(join(tmpdir(), 'dowell-chat-test-'))
  const url = `sqlite:${join(folder, 'test.db')}`
  const database = openDatabase({ ...options, url })
  await database.migrateToLatest()
  return {
    ...database,
    url,
    async [Symbol.asyncDispose]() {
      await database.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
