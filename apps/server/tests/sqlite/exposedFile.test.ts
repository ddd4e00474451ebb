import { chmodSync, mkdirSync } from 'node:fs'
import Sqlite from 'better-sqlite3'
import { expect, test } from 'vitest'
import { createFolder } from '../serverProcess.ts'
import { createTestApp } from '../support.ts'

test('a server warns at its start of a database that other users can read', async () => {
  await using folder = await createFolder()
  chmodSync(folder.file('.'), 0o755)
  mkdirSync(folder.file('data'), { mode: 0o755 })
  const file = folder.file('data/test.db')
  new Sqlite(file).exec('create table t (a); drop table t').close()
  chmodSync(file, 0o644)
  const DATABASE_URL = `sqlite:${file}`
  const warnings = async () => {
    await using app = await createTestApp({ DATABASE_URL })
    return app.log.filter(({ msg }) => String(msg).startsWith('other users'))
  }
  expect(await warnings()).toMatchObject([{ level: 40, msg: expect.stringContaining(file) }])
  chmodSync(file, 0o600)
  expect(await warnings()).toEqual([])
})
