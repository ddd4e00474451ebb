import { setTimeout as sleep } from 'node:timers/promises'
import { createTestDb, createTestStore } from '@dowell-chat/db/testing'
import pino from 'pino'
import { describe, expect, test } from 'vitest'
import { createApp } from '../src/app.ts'
import { readConfig } from '../src/config.ts'
import { ask } from './database.ts'
import { beginSend, openRoomAt } from './lifecycle.ts'
import { run, startServer } from './serverProcess.ts'
import { freePort, isListening } from './sockets.ts'

const silent = pino({ level: 'silent' })

describe.concurrent('a start that fails', () => {
  test('after the migrations leaves no port taken, and the process ends with 1', async () => {
    await using db = await createTestDb()
    await ask({ databaseUrl: db.url }, 'alter table api_keys rename to away')
    const port = await freePort()
    const { ended } = run({ PORT: `${port}`, DATABASE_URL: db.url })
    const { code, stdout, stderr } = await ended
    expect({ code, stdout }, stderr).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/^Dowell Chat cannot start: .*api_keys/)
    expect(await isListening(port)).toBe(false)
  })

  test('leaves nothing open, so that the same database and port can be used at once', async () => {
    await using db = await createTestDb()
    const port = await freePort()
    const config = readConfig({ PORT: `${port}`, DATABASE_URL: db.url })
    await ask({ databaseUrl: db.url }, 'alter table api_keys rename to away')
    const failing = createApp(config, silent)
    await expect(failing.start()).rejects.toThrow('api_keys')
    expect(await isListening(port)).toBe(false)
    await failing.close()
    await ask({ databaseUrl: db.url }, 'alter table away rename to api_keys')
    const app = createApp(config, silent)
    await app.start()
    expect(await isListening(port)).toBe(true)
    await app.close()
    expect(await isListening(port)).toBe(false)
  })
})

test('a server that is closed while it starts never listens', async () => {
  await using store = await createTestStore()
  // One after the other, so that each step is met.
  for (let turns = 0; turns < 12; turns++) {
    const port = await freePort()
    const app = createApp(readConfig({ PORT: `${port}`, DATABASE_URL: store.url }), silent)
    const starting = app.start().then(
      () => 'started',
      () => 'failed',
    )
    for (let turn = 0; turn < 2 ** turns; turn++) await new Promise(setImmediate)
    await app.close()
    await starting
    expect(await isListening(port)).toBe(false)
  }
})

test('a second signal a while after the first ends the process at once', async () => {
  await using store = await createTestStore()
  await using server = await startServer({ DATABASE_URL: store.url })
  const slow = await beginSend(server, await openRoomAt(server))
  const ended = server.kill('SIGTERM')
  // The request keeps it for 4 seconds. Two signals within 2 seconds are one.
  await sleep(2_500)
  expect(await Promise.all([ended, server.kill('SIGTERM')])).toMatchObject([
    { code: 1 },
    { code: 1 },
  ])
  await slow.answers()
})
