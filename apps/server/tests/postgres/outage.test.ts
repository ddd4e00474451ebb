import { setTimeout as sleep } from 'node:timers/promises'
import { createTestStore } from '@dowell-chat/db/testing'
import { expect, test } from 'vitest'
import { createProxy, type TestProxy } from '../../../../packages/db/tests/proxy.ts'
import { ask } from '../database.ts'
import { createTestApp, json, openRoom, type TestApp } from '../support.ts'
import { surfaces } from '../surfaces.ts'

/** A server with a proxy between it and its database. */
async function createBehind(): Promise<{ app: TestApp; proxy: TestProxy } & AsyncDisposable> {
  const store = await createTestStore()
  const proxy = await createProxy(store.url)
  const app = await createTestApp({ DATABASE_URL: proxy.url, DATABASE_STATEMENT_TIMEOUT: '1000' })
  return {
    app,
    proxy,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]()
      await app.close()
      await store[Symbol.asyncDispose]()
    },
  }
}

const message = { messageData: 'message', side: false, author: 'client' }

async function unavailable(response: Response): Promise<void> {
  expect(response.status).toBe(503)
  expect(response.headers.get('Retry-After')).toBe('1')
  expect(await response.json()).toMatchObject({ code: 'SERVICE_UNAVAILABLE' })
}

test('without its database a server says so, and goes on when it is back', async () => {
  await using behind = await createBehind()
  const { app, proxy } = behind
  const roomId = await openRoom(app)
  const send = (body: object) => app.fetch(`/api/v3/rooms/${roomId}/messages`, json(body))
  await proxy.down()
  await unavailable(await app.fetch(`/api/v3/rooms/${roomId}`))
  await unavailable(await app.fetch(`/api/v3/rooms/${roomId}/messages`))
  await Promise.all(Array.from({ length: 50 }, async () => unavailable(await send(message))))
  expect((await app.fetch('/healthz')).status).toBe(200)
  const ready = await app.fetch('/readyz')
  expect(ready.status).toBe(503)
  expect(await ready.json()).toEqual({
    status: 'unavailable',
    reason: 'the database does not answer',
  })
  await proxy.up()
  // The failure counts for a second.
  await expect.poll(async () => (await app.fetch('/readyz')).status).toBe(200)
  expect((await send(message)).status).toBe(201)
  const page = await app.fetch(`/api/v3/rooms/${roomId}/messages`)
  expect(((await page.json()) as { items: unknown[] }).items).toHaveLength(1)
})

test.for([
  ['no commit', 201],
  ['no answer to a commit', 200],
] as const)(
  'a message that met %s may be sent again, and is stored once',
  async ([way, status]) => {
    await using behind = await createBehind()
    const { app, proxy } = behind
    const roomId = await openRoom(app)
    const send = () =>
      app.fetch(
        `/api/v3/rooms/${roomId}/messages`,
        json({ ...message, clientMessageId: '0192f3a1-7c1e-4d3b' }),
      )
    proxy.way = way
    await unavailable(await send())
    proxy.way = 'through'
    // The server may still be at it: then this one waits for its end.
    expect((await send()).status).toBe(status)
    expect((await send()).status).toBe(200)
    const page = await app.fetch(`/api/v3/rooms/${roomId}/messages`)
    expect(((await page.json()) as { items: unknown[] }).items).toMatchObject([
      { seq: 1, messageData: 'message' },
    ])
  },
)

test('what it refuses is logged without the row, which the server quotes', async () => {
  await using app = await createTestApp()
  const room = await openRoom(app)
  await ask(app, "alter table messages add check (message_data <> 'sensitive')")
  for (const surface of ['v2', 'v3', 'trpc'] as const) {
    const { status } = await surfaces[surface].say(app, { room, text: 'sensitive' })
    expect(status).toBe(500)
  }
  const failures = () => app.log.filter(({ msg }) => msg === 'failed')
  while (failures().length < 3) await sleep(5)
  for (const line of failures()) {
    expect(line).toMatchObject({ err: { stack: expect.stringContaining('check constraint') } })
  }
  expect(JSON.stringify(app.log)).not.toContain('sensitive')
})
