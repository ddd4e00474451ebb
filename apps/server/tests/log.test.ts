import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ask } from './database.ts'
import { expectFailure, parseRaw, raw, type Surface, send } from './http.ts'
import { createTestApp, openRoom, type TestApp } from './support.ts'
import { everySurface, formV2, multipartV2, surfaces } from './surfaces.ts'

interface Line {
  readonly level: number
  readonly req?: { readonly id: string; readonly method: string; readonly path: string }
  readonly res?: { readonly status: number }
  readonly err?: { readonly message: string; readonly stack: string }
}

const ERROR = 50

function linesOf(app: TestApp, requestId: string | undefined): Line[] {
  return (app.log as unknown as Line[]).filter(({ req }) => req?.id === requestId)
}

/** The line is written when the answer is through, which its reader may know a moment earlier. */
async function written(app: TestApp, ...requestIds: (string | undefined)[]): Promise<void> {
  await expect.poll(() => requestIds.every((id) => linesOf(app, id).length > 0)).toBe(true)
}

describe('every request has one line', () => {
  let app: TestApp
  beforeAll(async () => {
    app = await createTestApp()
  })
  afterAll(() => app?.[Symbol.asyncDispose]())

  const requests: [string, string, number, Record<string, string>?, string?][] = [
    ['GET', '/healthz', 200],
    ['HEAD', '/healthz', 200],
    ['GET', '/docs', 200],
    ['GET', '/nothing', 404],
    ['PUT', '/api/v3/rooms', 405],
    ['OPTIONS', '/api/v3/rooms', 204],
    ['GET', '/api/v3/rooms', 400],
    ['POST', '/api/v3/rooms', 415, { 'Content-Type': 'text/plain' }, 'x'],
    ['POST', '/api/v2/room-control/', 400, { 'Content-Type': 'application/json' }, '{'],
    ['GET', '/api/v2/room-list/', 400],
    ['GET', '/trpc/listRooms', 400],
    ['POST', '/trpc/createRoom', 400, { 'Content-Type': 'application/json' }, '{'],
    ['GET', '/trpc/nothing', 404],
    ['PATCH', '/trpc/nothing', 405],
  ]
  for (const [method, path, status, headers = {}, body] of requests) {
    test(`${method} ${path} ${status}`, async () => {
      const before = app.log.length
      const answer = await send(app, { method, path: `${path}?secret=1`, headers, body })
      expect(answer.status).toBe(status)
      const id = answer.headers['x-request-id'] as string
      await written(app, id)
      expect(linesOf(app, id)).toEqual([
        expect.objectContaining({
          level: status >= 400 ? 40 : 30,
          req: { id, method, path },
          res: { status },
        }),
      ])
      expect(app.log.slice(before).filter(({ req }) => req)).toHaveLength(1)
    })
  }

  test('without a credential that stands in the path, wherever the path is cut', async () => {
    await using app = await createTestApp()
    const header = Buffer.from('{"alg":"HS256"}').toString('base64url')
    const claims = 'sensitive'.repeat(30)
    const ids: (string | undefined)[] = []
    for (let length = 0; length <= 200; length += 10) {
      for (const credential of [`${header}.${claims}.${claims}`, `dck_${claims}`]) {
        const path = `/${'a'.repeat(length)}/${credential}`
        ids.push((await send(app, { path })).headers['x-request-id'] as string)
      }
    }
    await written(app, ...ids)
    expect(JSON.stringify(app.log)).toContain('[credential]')
    expect(JSON.stringify(app.log)).not.toContain('sens')
  })

  test('even one that is hardly HTTP', async () => {
    const answers = [
      ['nonsense\r\n\r\n', 400],
      [`GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ${'x'.repeat(64 * 1024)}\r\n\r\n`, 431],
    ] as const
    for (const [bytes, status] of answers) {
      const { headers } = parseRaw(await raw(app, bytes))
      const id = headers['x-request-id'] as string
      await written(app, id)
      expect(linesOf(app, id)).toEqual([expect.objectContaining({ level: 40, res: { status } })])
    }
  })

  test('and one whose client left before its answer, which does not pass for answered', async () => {
    const types = [
      'application/json',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
    ]
    for (const type of types) {
      for (const path of ['/api/v2/room-control/', '/api/v3/rooms', '/trpc/createRoom']) {
        const before = app.log.length
        const head = `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${type}\r\n`
        await raw(app, `${head}Content-Length: 100\r\n\r\n--x`, { hangUp: true })
        await expect.poll(() => app.log.slice(before).some(({ res }) => res)).toBe(true)
        const [line, ...more] = app.log
          .slice(before)
          .filter(({ req }) => (req as Line['req'])?.path === path)
        expect(line, type).toMatchObject({ req: { method: 'POST', path } })
        expect((line as unknown as Line).res?.status, type).not.toBe(200)
        expect(more).toEqual([])
      }
    }
  })
})

test('a valid X-Request-Id is used, any other is replaced', async () => {
  await using app = await createTestApp()
  const ids = ['a', 'x'.repeat(64), '0192f3a1-7c1e-4d3b', 'trace.id_1']
  for (const id of ids) {
    for (const [surface, path] of [
      ['v2', '/api/v2/room-list'],
      ['v3', '/api/v3/rooms'],
      ['trpc', '/trpc/listRooms'],
      ['v3', '/nothing'],
    ] as const) {
      const answer = await send(app, { path, headers: { 'X-Request-Id': id } })
      expect(answer.headers['x-request-id']).toBe(id)
      expectFailure(surface, answer)
    }
    await written(app, id)
  }
  for (const id of ['', ' ', 'x'.repeat(65), 'a b', 'a/b', '<script>', 'é', 'a,b', '{}']) {
    const { headers } = await send(app, { path: '/healthz', headers: { 'X-Request-Id': id } })
    expect(headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/)
    await written(app, headers['x-request-id'] as string)
    expect(linesOf(app, id)).toEqual([])
  }
})

test('after a busy run the log has nothing of what people wrote or who they are', async () => {
  await using app = await createTestApp()
  const user = 'sensitive-user'
  const org = 'sensitive-org'
  const text = 'sensitive-text'
  const author = 'sensitive-author'
  const clientId = 'sensitive-client-id'
  const ids: (string | undefined)[] = []
  for (const surface of everySurface) {
    const { openRoom, say, read } = surfaces[surface]
    const opened = await openRoom(app, user, org)
    const room = (surface === 'v2'
      ? opened.body?.inserted_id
      : (opened.body?.result?.data?.json ?? opened.body)?.room?.id) as unknown as string
    const answers = [
      opened,
      await say(app, { room, text, author }),
      await say(app, { room, text, author, clientId: `${clientId}-${surface}` }),
      await say(app, { room, text: `${text}\0`, author, kind: text }),
      await say(app, { room, text: text.repeat(2_000), author }),
      await say(app, { room: '0'.repeat(24), text, author }),
      await openRoom(app, `${user}\0`, org),
    ]
    await read(app, room)
    ids.push(...answers.map(({ headers }) => headers['x-request-id'] as string))
    const fields = { type: 'create_message', room_id: room, message_data: text, auther: author }
    for (const outgoing of [
      formV2({ ...fields, side: 'true' }),
      formV2({ ...fields, side: text }),
      multipartV2({ ...fields, side: 'true' }),
      { path: `/api/v2/room-service/?message_data=${text}&auther=${author}` },
      { path: `/api/v2/room-list/?org_id=${org}` },
      { path: `/api/v3/rooms?orgId=${org}` },
      { path: `/api/v3/rooms?orgId=${org}&${text}=${author}` },
      { path: `/api/v3/rooms/${room}?isActive=${text}`, method: 'DELETE' },
      { path: `/nothing?${text}` },
      { path: '/healthz', headers: { Authorization: text, Cookie: user, Referer: `/${org}` } },
      { path: `/trpc/listRooms?input=${encodeURIComponent(`{"json":{"orgId":"${org}"}}`)}` },
      { path: `/trpc/listRooms?input=${text}` },
    ]) {
      const { headers } = await send(app, outgoing)
      ids.push(headers['x-request-id'] as string)
    }
    const url = `http://${user}:${text}@a/api/v3/rooms?orgId=${org}`
    await raw(app, `GET ${url} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
  }
  await breakMessages(app)
  for (const surface of everySurface) {
    const { headers } = await surfaces[surface].say(app, {
      room: await openRoom(app, user, org),
      text,
      author,
    })
    ids.push(headers['x-request-id'] as string)
  }
  await written(app, ...ids)
  for (const line of app.log) expect(JSON.stringify(line)).not.toMatch(/sensitive|orgId=|\?/)
})

describe('an unexpected failure', () => {
  const cause = /no such table: messages|relation "messages" does not exist/

  for (const surface of everySurface) {
    test(`${surface}: is a 500 without its cause, which the log has`, async () => {
      await using app = await createTestApp()
      const room = await openRoom(app)
      await breakMessages(app)
      await expectLogged(app, surface, await surfaces[surface].say(app, { room, text: 'x' }), cause)
      const paths = {
        v2: `/api/v2/room-service/?type=get_messages&room_id=${room}`,
        v3: `/api/v3/rooms/${room}/messages`,
        trpc: `/trpc/getMessages?input=${encodeURIComponent(`{"json":{"roomId":"${room}"}}`)}`,
      }
      await expectLogged(app, surface, await send(app, { path: paths[surface] }), cause)
      // What does not need the table still works.
      expect((await surfaces[surface].openRoom(app, 'another')).status).toBeLessThan(300)
    })

    test(`${surface}: also when it is no failure of the database`, async () => {
      let broken = false
      const clock = () => {
        if (broken) throw new Error('the clock has stopped')
        return Date.now()
      }
      await using app = await createTestApp({}, { clock })
      const room = await openRoom(app)
      broken = true
      const answer = await surfaces[surface].say(app, { room, text: 'x' })
      await expectLogged(app, surface, answer, /the clock has stopped/)
      broken = false
      expect((await surfaces[surface].say(app, { room, text: 'x' })).status).toBeLessThan(300)
      expect((await surfaces[surface].read(app, room)).map(({ seq }) => seq)).toEqual([1])
    })
  }

  test('of one call in a batch is logged as well', async () => {
    await using app = await createTestApp()
    const room = await openRoom(app)
    await breakMessages(app)
    const input = encodeURIComponent(
      JSON.stringify({ 0: { json: { roomId: room } }, 1: { json: { roomId: room } } }),
    )
    const path = `/trpc/getRoomById,getMessages?batch=1&input=${input}`
    const { status, headers, body, text } = await send(app, { path })
    expect(status).toBe(207)
    expect(body?.[1]?.error?.json?.data).toMatchObject({ httpStatus: 500 })
    expect(text).not.toMatch(cause)
    const id = headers['x-request-id'] as string
    await written(app, id)
    expect(linesOf(app, id)).toMatchObject([
      { level: ERROR, err: { stack: expect.stringMatching(cause) } },
    ])
  })

  async function expectLogged(
    app: TestApp,
    surface: Surface,
    answer: Awaited<ReturnType<typeof send>>,
    cause: RegExp,
  ): Promise<void> {
    expectFailure(surface, answer, { status: 500, code: 'INTERNAL_SERVER_ERROR' })
    expect(answer.text).not.toMatch(cause)
    const id = answer.headers['x-request-id'] as string
    await written(app, id)
    expect(linesOf(app, id)).toMatchObject([
      { level: ERROR, res: { status: 500 }, err: { stack: expect.stringMatching(cause) } },
    ])
  }
})

test('/healthz and /readyz', async () => {
  await using app = await createTestApp()
  for (const path of ['/healthz', '/readyz']) {
    const { status, body } = await send(app, { path })
    expect({ status, body }).toEqual({ status: 200, body: { status: 'ok' } })
    expect(await send(app, { path, method: 'HEAD' })).toMatchObject({ status: 200, text: '' })
  }
})

/** Takes a table away behind the server's back. */
async function breakMessages(app: TestApp): Promise<void> {
  await ask(app, 'alter table messages rename to away')
}
