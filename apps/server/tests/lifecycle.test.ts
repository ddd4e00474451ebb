import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { DatabaseSync } from 'node:sqlite'
import { openDatabase } from '@dowell-chat/db'
import { describe, expect, test } from 'vitest'
import { describeSettings } from '../src/config.ts'
import { type Answer, expectFailure, parseRaw, send } from './http.ts'
import { createFolder, run, type ServerProcess, spawnHere, startServer } from './serverProcess.ts'
import { createTestApp, openRoom } from './support.ts'
import { everySurface, surfaces } from './surfaces.ts'

describe.concurrent('stopping', () => {
  test('the log has every request that was answered, and ends with the last word', async () => {
    await using folder = await createFolder()
    const url = `sqlite:${folder.file('chat.db')}`
    await using server = await startServer({ DATABASE_URL: url, LOG_LEVEL: 'info' })
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
    test(`${signal}: what is in flight is answered, nothing new is taken, the log is folded in`, async () => {
      await using folder = await createFolder()
      const file = folder.file('chat.db')
      await using server = await startServer({ DATABASE_URL: `sqlite:${file}` })
      const room = await openRoomAt(server)
      expect(existsSync(`${file}-wal`)).toBe(true)
      const slow = await beginSend(server, room)

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
      expect(existsSync(file)).toBe(true)
      expect(existsSync(`${file}-wal`)).toBe(false)
      expect(storedTexts(file)).toEqual(['slowly'])
    })
  }

  test('a request that never ends is not waited for', async () => {
    await using folder = await createFolder()
    const file = folder.file('chat.db')
    await using server = await startServer({ DATABASE_URL: `sqlite:${file}` })
    const slow = await beginSend(server, await openRoomAt(server))
    const stopped = performance.now()
    expect(await server.kill('SIGTERM')).toMatchObject({ code: 0, signal: null })
    expect(performance.now() - stopped).toBeLessThan(10_000)
    await slow.answers()
    expect(existsSync(`${file}-wal`)).toBe(false)
    expect(storedTexts(file)).toEqual([])
  })
})

describe.concurrent('a server that cannot start says why in one sentence', () => {
  async function refusal(env: Record<string, string>): Promise<string> {
    const { ended } = run({ PORT: '0', ...env })
    const { code, stdout, stderr } = await ended
    expect({ code, stdout }, stderr).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/^Dowell Chat cannot start: [^\n]+\n$/)
    return stderr
  }

  test('a taken port', async () => {
    await using folder = await createFolder()
    await using taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    const file = folder.file('chat.db')
    const said = await refusal({ PORT: `${port}`, DATABASE_URL: `sqlite:${file}` })
    expect(said).toContain(`port ${port} on 127.0.0.1 is taken; set PORT to another one`)
    expect(existsSync(`${file}-wal`)).toBe(false)
  })

  test('an address that this machine does not have', async () => {
    await using folder = await createFolder()
    // TEST-NET-1: nobody's address (RFC 5737).
    const env = { HOST: '192.0.2.1', DATABASE_URL: `sqlite:${folder.file('chat.db')}` }
    expect(await refusal(env)).toContain('HOST 192.0.2.1 is not an address of this machine')
  })

  test('a folder that cannot be', async () => {
    await using folder = await createFolder()
    await writeFile(folder.file('plain'), 'a file')
    const said = await refusal({ DATABASE_URL: `sqlite:${folder.file('plain/below/chat.db')}` })
    expect(said).toContain(`cannot open the database ${folder.file('plain/below/chat.db')}: `)
    expect(said).toContain('is not a folder')
  })

  test('a file that is no database', async () => {
    await using folder = await createFolder()
    await writeFile(folder.file('chat.db'), 'a shopping list, and a long one at that\n'.repeat(50))
    const said = await refusal({ DATABASE_URL: `sqlite:${folder.file('chat.db')}` })
    expect(said).toContain('the file is not an SQLite database')
  })

  test('a database of a newer version', async () => {
    await using folder = await createFolder()
    const file = folder.file('chat.db')
    const database = openDatabase({ url: `sqlite:${file}` })
    await database.migrateToLatest()
    await database.close()
    const direct = new DatabaseSync(file)
    direct.exec("insert into schema_migrations values ('999-from-the-future', '2099-01-01')")
    direct.close()
    const said = await refusal({ DATABASE_URL: `sqlite:${file}` })
    expect(said).toContain('made by a newer version of Dowell Chat')
    expect(said).toContain('999-from-the-future')
  })

  test('settings that make no sense, all of them at once', async () => {
    const said = await refusal({ PORT: '80000', LOG_LEVEL: 'loud', MESSAGE_MAX_CHARS: '0' })
    expect(said).toContain('PORT must be a whole number from 0 to 65535')
    expect(said).toContain(
      'LOG_LEVEL must be one of fatal, error, warn, info, debug, trace, silent',
    )
    expect(said).toContain('MESSAGE_MAX_CHARS must be a whole number from 1 to 1000000')
  })

  test('a database that is not there, whose password is not repeated', async () => {
    const said = await refusal({ DATABASE_URL: 'postgres://someone:s3cret@db.invalid/chat' })
    expect(said).toContain('its host is not known')
    expect(said).not.toContain('s3cret')
  })

  test('another database, whose password is not repeated', async () => {
    const said = await refusal({ DATABASE_URL: 'mysql://someone:s3cret@db.invalid/chat' })
    expect(said).toContain('DATABASE_URL must be "sqlite:"')
    expect(said).not.toMatch(/s3cret|someone|db\.invalid/)
  })
})

test('--help lists every setting', async () => {
  const { code, stdout, stderr } = await run({}, ['--help']).ended
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  for (const { name, standard, about } of describeSettings()) {
    expect(stdout).toContain(`${name} (${standard})\n      ${about}`)
  }
})

test('a client that still sends a body nobody wants gets its answer', async () => {
  await using folder = await createFolder()
  await using server = await startServer({ DATABASE_URL: `sqlite:${folder.file('chat.db')}` })
  const headers = { 'Content-Type': 'application/json' }
  const body = `{"a":"${'x'.repeat(8_000_000)}"}`
  for (let round = 0; round < 5; round++) {
    for (const [surface, path, status] of [
      ['v2', '/api/v2/room-control/', 413],
      ['v3', '/api/v3/rooms', 413],
      ['v3', '/nothing', 404],
      ['trpc', '/trpc/createRoom', 413],
    ] as const) {
      const answer = await send(server, { path, method: 'POST', headers, body })
      expectFailure(surface, answer, { status })
    }
  }
})

test('killed in the middle of many sends, again and again: what was answered is there, once', async () => {
  await using folder = await createFolder()
  const env = { DATABASE_URL: `sqlite:${folder.file('chat.db')}` }
  const answered = new Map<string, number>()
  let unanswered: string[] = []
  let room = ''
  for (let round = 0; round < 3; round++) {
    await using server = await startServer(env)
    room ||= await openRoomAt(server)
    const attempt = async (clientId: string) => {
      const surface = everySurface[Number.parseInt(clientId.slice(-1), 36) % 3] ?? 'v3'
      const answer = await surfaces[surface].say(server, { room, text: clientId, clientId })
      expect(answer.status, answer.text).toBeLessThan(300)
      answered.set(clientId, seqOf(answer))
    }
    // Those that got no answer may have been stored, or not: the same id again settles it.
    await Promise.all(unanswered.map(attempt))
    unanswered = []
    const before = answered.size
    const sends = Array.from({ length: 300 }, async (_, index) => {
      const clientId = `round-${round}-message-${index}`
      await attempt(clientId).catch(() => unanswered.push(clientId))
      if (answered.size === before + 60 + 20 * round) await server.kill('SIGKILL')
    })
    await Promise.all(sends)
    expect(unanswered.length).toBeGreaterThan(0)
  }

  await using server = await startServer(env)
  const after = await allMessages(server, room)
  expect(after.map(({ seq }) => seq)).toEqual(after.map((_, index) => index + 1))
  const stored = new Map(after.map(({ clientMessageId, seq }) => [clientMessageId, seq]))
  expect(stored.size).toBe(after.length)
  for (const [clientId, seq] of answered) expect(stored.get(clientId), clientId).toBe(seq)
})

describe('all at once', () => {
  test('1,000 requests for one room make one room', async () => {
    await using app = await createTestApp()
    const answers = await Promise.all(
      Array.from({ length: 1_000 }, (_, index) => {
        const surface = everySurface[index % 3] ?? 'v3'
        return surfaces[surface].openRoom(app, 'one')
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
        return surfaces[surface].say(app, { room, text: `message ${index}` })
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

test('several servers on one file: all come up on an empty one, and none loses a write', async () => {
  await using folder = await createFolder()
  const env = { DATABASE_URL: `sqlite:${folder.file('chat.db')}` }
  await using servers = new AsyncDisposableStack()
  const starting = Array.from({ length: 3 }, async () => servers.use(await startServer(env)))
  const urls = await Promise.all(starting)

  const rooms = await Promise.all(
    Array.from({ length: 30 }, (_, index) => openRoomAt(urls[index % 3] as ServerProcess)),
  )
  expect(new Set(rooms).size).toBe(1)
  const [room = ''] = rooms
  const answers = await Promise.all(
    Array.from({ length: 600 }, (_, index) => {
      const surface = everySurface[Math.trunc(index / 3) % 3] ?? 'v3'
      const server = urls[index % 3] as ServerProcess
      return surfaces[surface].say(server, { room, text: `message ${index}` })
    }),
  )
  const seqs = answers.map(seqOf)
  expect(seqs.toSorted((a, b) => a - b)).toEqual(seqs.map((_, index) => index + 1))
  for (const server of urls) {
    const stored = await allMessages(server, room)
    expect(stored.map(({ messageData }) => messageData)).toEqual(
      seqs.map((_, index) => `message ${seqs.indexOf(index + 1)}`),
    )
  }
  for (const server of urls) expect(await server.kill('SIGTERM')).toMatchObject({ code: 0 })
  expect(existsSync(folder.file('chat.db-wal'))).toBe(false)
})

test('a new file that several processes open at the same instant is opened by all', async () => {
  await using folder = await createFolder()
  // Each opens the same files at the same times; the clock is what they share.
  const opener = `
    import { openDatabase } from '@dowell-chat/db'
    process.stdin.once('data', async (start) => {
      for (let turn = 0; turn < 20; turn++) {
        while (Date.now() < Number(start) + 40 * turn) {}
        const database = openDatabase({ url: process.argv[1] + turn })
        await database.migrateToLatest()
        await database.close()
      }
      process.exit(0)
    })
    process.stdout.write('ready')`
  const openers = Array.from({ length: 3 }, () =>
    spawnHere(['--input-type=module', '--eval', opener, `sqlite:${folder.file('new')}`]),
  )
  await Promise.all(openers.map(({ child }) => once(child.stdout, 'data')))
  for (const { child } of openers) child.stdin.end(String(Date.now() + 100))
  for (const { ended } of openers) expect(await ended).toMatchObject({ code: 0, stderr: '' })
})

async function openRoomAt(server: { url: string }): Promise<string> {
  const { body, text } = await surfaces.v3.openRoom(server, 'a')
  expect(body?.room?.id, text).toBeTypeOf('string')
  return body?.room?.id as unknown as string
}

/** Sends the head of a message and half of its body, and returns once the server has begun to read it. */
async function beginSend(
  server: { url: string },
  room: string,
): Promise<{ socket: Socket; rest: string; answers(): Promise<string> }> {
  const { hostname, port } = new URL(server.url)
  const socket = connect(Number(port), hostname)
  let received = ''
  socket.on('data', (part) => {
    received += part
  })
  socket.on('error', () => undefined)
  const closed = once(socket, 'close')
  const body = JSON.stringify({ messageData: 'slowly', author: 'a', side: false })
  socket.write(
    [
      `POST /api/v3/rooms/${room}/messages HTTP/1.1`,
      'Host: localhost',
      'Content-Type: application/json',
      `Content-Length: ${body.length}`,
      // The server says when it has read the head.
      'Expect: 100-continue',
      '\r\n',
    ].join('\r\n'),
  )
  await once(socket, 'data')
  expect(received).toBe('HTTP/1.1 100 Continue\r\n\r\n')
  received = ''
  socket.write(body.slice(0, 10))
  return {
    socket,
    rest: body.slice(10),
    async answers() {
      await closed
      return received
    },
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

function storedTexts(file: string): unknown[] {
  const database = new DatabaseSync(file, { readOnly: true })
  const rows = database.prepare('select message_data from messages order by seq').all()
  database.close()
  return rows.map(({ message_data }) => message_data)
}

function seqOf({ body, text }: Answer): number {
  const seq = body?.response?.seq ?? (body?.message ?? body?.result?.data?.json?.message)?.seq
  expect(seq, text).toBeTypeOf('number')
  return seq as unknown as number
}

interface Stored {
  readonly seq: number
  readonly messageData: string
  readonly clientMessageId: string | null
}

/** Every message of a room, page by page, oldest first. */
async function allMessages(server: { url: string }, room: string): Promise<Stored[]> {
  const path = `/api/v3/rooms/${room}/messages?limit=200`
  const pages: Stored[][] = []
  for (let before = ''; ; ) {
    const { body } = await send(server, { path: before ? `${path}&before=${before}` : path })
    const page = body as unknown as { items: Stored[]; before: string; hasBefore: boolean }
    pages.unshift(page.items)
    if (!page.hasBefore) return pages.flat()
    before = page.before
  }
}
