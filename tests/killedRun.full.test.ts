import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { killAtEnd } from '../packages/db/tests/watchdog.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

/** A test that never ends, with a server and a PostgreSQL; it writes down what it has started. */
const holding = (folder: string) => `
import { renameSync, readFileSync, writeFileSync } from 'node:fs'
import { test } from 'vitest'
import { run } from '${root}apps/server/tests/serverProcess.ts'
import { startPostgres } from '${root}packages/db/tests/postgresServer.ts'

test('holds', { timeout: 600_000 }, async () => {
  const postgres = await startPostgres()
  const { child } = run({ PORT: '0', DATABASE_URL: postgres.url })
  await new Promise((resolve) => child.stdout.once('data', resolve))
  const pids = [process.pid, child.pid, Number.parseInt(readFileSync(postgres.folder + '/postmaster.pid', 'utf8'))]
  writeFileSync('${folder}/started', JSON.stringify({ pids, data: postgres.folder }))
  renameSync('${folder}/started', '${folder}/started.json')
  await new Promise(() => {})
})
`

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

it('a killed test run leaves no server, no PostgreSQL and no data behind', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'dowell-chat-killed-'))
  try {
    writeFileSync(join(folder, 'holding.test.ts'), holding(folder))
    const vitest = spawn(
      process.execPath,
      [join(root, 'node_modules/vitest/vitest.mjs'), 'run', '--root', folder],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    )
    killAtEnd(vitest)
    let output = ''
    for (const stream of [vitest.stdout, vitest.stderr]) {
      stream.on('data', (part) => {
        output += part
      })
    }
    const ended = once(vitest, 'exit')
    const report = join(folder, 'started.json')
    await expect
      .poll(() => existsSync(report) || vitest.exitCode !== null, { timeout: 120_000 })
      .toBe(true)
    expect(vitest.exitCode, output).toBeNull()
    const { pids, data } = JSON.parse(readFileSync(report, 'utf8')) as {
      pids: number[]
      data: string
    }
    expect(pids.map(isAlive)).toEqual([true, true, true])
    vitest.kill('SIGKILL')
    expect(await ended).toEqual([null, 'SIGKILL'])
    await expect
      .poll(() => ({ alive: pids.filter(isAlive), data: existsSync(data) }), { timeout: 30_000 })
      .toEqual({ alive: [], data: false })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}, 180_000)
