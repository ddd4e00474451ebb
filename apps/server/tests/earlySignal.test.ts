import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { killAtEnd } from '../../../packages/db/tests/watchdog.ts'

it.each(['SIGTERM', 'SIGINT'] as const)(
  'closes in order after a %s during the start',
  async (signal) => {
    const folder = mkdtempSync(join(tmpdir(), 'dowell-chat-signal-'))
    const file = join(folder, 'chat.db')
    const main = fileURLToPath(new URL('../src/main.ts', import.meta.url))
    const child = spawn(process.execPath, [main], {
      env: { ...process.env, HOST: '', PORT: '0', LOG_LEVEL: '', DATABASE_URL: `sqlite:${file}` },
      cwd: fileURLToPath(new URL('..', import.meta.url)),
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    killAtEnd(child)
    const ended = once(child, 'exit')
    const log = text(child.stderr)
    try {
      // The database is opened first; migrating it and listening are still to come.
      while (!existsSync(file) && child.exitCode === null) await sleep(1)
      child.kill(signal)
      expect(await ended, await log).toEqual([0, null])
      expect(await log).toContain('"msg":"closed"')
      expect(existsSync(`${file}-wal`)).toBe(false)
    } finally {
      child.kill('SIGKILL')
      rmSync(folder, { recursive: true, force: true })
    }
  },
)
