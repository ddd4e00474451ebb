import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createTestDb, createTestStore } from '@dowell-chat/db/testing'
import { describe, expect, test } from 'vitest'
import { ask, type Rows } from './database.ts'
import { type Answer, parseRaw, send } from './http.ts'
import { allMessages, beginSend, openRoomAt, seqOf } from './lifecycle.ts'
import { refusal, startServer } from './serverProcess.ts'
import { createTestApp, openRoom } from './support.ts'
import { everySurface, surfaces } from './surfaces.ts'

describe.concurrent('stopping', () => {
  test('the log has every request that was answered, and ends with the last word', async () => {
    await using store = await createTestStore()
    await using server = await startServer({ DATABASE_URL: store.url, LOG_LEVEL: 'info' })
    const answers = await Promise.all(
      Array.from({ length: 200 }, () => send(server, { path: '/api/v3/nothing' })),
    )
    const { code, stderr } = await server.kill('SIGTERM')
    expect(code).toBe(0)
    const lines = stderr.trimEnd().split('\n')
    const said = lines.map((line) => JSON.parse(line) as { msg: string; req?: { id: string } })
    const logged = said.flatMap(({ req }) => (req ? [req.id] : []))
    expect(logged.sort()).toEqual(answers.map(({ headers }) => headers['x-request-id']).sort())
    expect(said.slice(-2).map(({ msg }) => msg)).toEqual(['closing', 'closed'])
  })

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    test(`${signal}: what is in flight is answered, nothing new is taken`, async () => {
      await using store = await createTestStore()
      await using server = await startServer({ DATABASE_URL: store.url })
      const slow = await beginSend(server, await openRoomAt(server))

      const stopped = performance.now()
      const ended = server.kill(signal)
      await refusesConnections(server)
      // The rest of the body, and on the same connection one more request.
      slow.socket.write(`${slow.rest}GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n`)
      const [sent = '', ready = ''] = (await slow.answers()).split(/(?=HTTP\/1\.1 503)/)
      expect(parseRaw(sent)).toMatchObject({ status: 201, body: { message: { seq: 1 } } })
      expect(parseRaw(ready)).toMatchObject({ status: 503, headers: { connection: 'close' } })

      expect(await ended).toMatchObject({ code: 0, signal: null })
      expect(performance.now() - stopped).toBeLessThan(10_000)
      expect(await storedTexts(store)).toEqual([{ message_data: 'slowly' }])
    })
  }

  test('a request that never ends is not waited for', async () => {
    await using store = await createTestStore()
    await using server = await startServer({ DATABASE_URL: store.url })
    const slow = await beginSend(server, await openRoomAt(server))
    const stopped = performance.now()
    expect(await server.kill('SIGTERM')).toMatchObject({ code: 0, signal: null })
    expect(performance.now() - stopped).toBeLessThan(10_000)
    await slow.answers()
    expect(await storedTexts(store)).toEqual([])
  })
})

describe.concurrent('a server that cannot start says why in one sentence', () => {
  test('a taken port', async () => {
    await using store = await createTestStore()
    await using taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    const said = await refusal({ PORT: `${port}`, DATABASE_URL: store.url })
    expect(said).toContain(`port ${port} on 127.0.0.1 is taken; set PORT to another one`)
  })

  test('a database of a newer version', async () => {
    await using db = await createTestDb()
    await ask(
      { databaseUrl: db.url },
      "insert into schema_migrations (name, timestamp) values ('999-from-the-future', '2099-01-01')",
    )
    const said = await refusal({ DATABASE_URL: db.url })
    expect(said).toContain('made by a newer version of Dowell Chat')
    expect(said).toContain('999-from-the-future')
  })
})

describe('all at once', () => {
  test('1,000 requests for one room make one room', async () => {
    await using app = await createTestApp()
    const answers = await Promise.all(
      Array.from({ length: 1_000 }, (_, index) => {
        const surface = everySurface[index % 3] ?? 'v3'
        return untilTaken(() => surfaces[surface].openRoom(app, 'one'))
      }),
    )
    const rooms = answers.map(({ body, text }, index) => {
      if (index % 3 === 0) {
        const created = (body?.message as unknown) === 'Room created successfully'
        return { id: body?.inserted_id as unknown, created }
      }
      const { room, created } = (index % 3 === 1 ? body : body?.result?.data?.json) ?? {}
      expect(created, text).toBeTypeOf('boolean')
      return { id: room?.id as unknown, created: created as unknown as boolean }
    })
    expect(new Set(rooms.map(({ id }) => id)).size).toBe(1)
    expect(rooms.filter(({ created }) => created)).toHaveLength(1)
    const { body } = await send(app, { path: '/api/v3/rooms?orgId=DOWELL12345' })
    expect(body?.items).toHaveLength(1)
  })

  test('1,000 messages to one room get seq 1 to 1,000, each once', async () => {
    await using app = await createTestApp()
    const room = await openRoom(app)
    const answers = await Promise.all(
      Array.from({ length: 1_000 }, (_, index) => {
        const surface = everySurface[index % 3] ?? 'v3'
        const clientId = `one-of-many-at-once-${index}`
        const sent = { room, text: `message ${index}`, clientId }
        return untilTaken(() => surfaces[surface].say(app, sent))
      }),
    )
    const seqs = answers.map(seqOf)
    expect(seqs.toSorted((a, b) => a - b)).toEqual(seqs.map((_, index) => index + 1))
    const stored = await allMessages(app, room)
    expect(stored.map(({ seq }) => seq)).toEqual(seqs.map((_, index) => index + 1))
    expect(stored.map(({ messageData }) => messageData)).toEqual(
      seqs.map((_, index) => `message ${seqs.indexOf(index + 1)}`),
    )
  })
})

/** Repeats a request that the server was too busy for: it answers 503, or 408, or hangs up before it has read the headers. */
async function untilTaken(request: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    try {
      const answer = await request()
      if (answer.status !== 503 && answer.status !== 408) return answer
      await sleep(1_000 * Number(answer.headers['retry-after'] ?? 1))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error
    }
  }
}

/** Waits until nobody listens any more. */
async function refusesConnections(server: { url: string }): Promise<void> {
  const { hostname, port } = new URL(server.url)
  for (;;) {
    const socket = connect(Number(port), hostname)
    const error = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
      socket.on('connect', () => resolve(undefined))
      socket.on('error', resolve)
    })
    socket.destroy()
    if (error?.code === 'ECONNREFUSED') return
  }
}

function storedTexts({ url }: { url: string }): Promise<Rows> {
  return ask({ databaseUrl: url }, 'select message_data from messages order by seq')
}
