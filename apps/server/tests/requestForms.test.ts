import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { matchV3, operationNamed, operationNames } from '@dowell-chat/api'
import { describe, expect, test } from 'vitest'
import { EventReader } from './eventReader.ts'
import { expectFailure, type Json, parseRaw, raw, send } from './http.ts'
import { createTestApp, json, openRoom, type TestApp } from './support.ts'
import { multipartV2, surfaces } from './surfaces.ts'

// The forms in which clients, generators and proxies send the same request.

const ORG = 'DOWELL12345'
const inbox = `/api/v3/events?orgId=${ORG}`

async function say(app: TestApp, room: string, messageData: string): Promise<void> {
  const body = { messageData, side: false, author: 'ABCD12345' }
  const { status } = await app.fetch(`/api/v3/rooms/${room}/messages`, json(body))
  expect(status).toBe(201)
}

describe('a list in a query', () => {
  test('may be repeated, separated by commas, or both', async () => {
    await using app = await createTestApp()
    const [a, b, c] = [await openRoom(app, 'a'), await openRoom(app, 'b'), await openRoom(app, 'c')]
    const forms = [
      `roomIds=${a}&roomIds=${b}`,
      `roomIds=${a},${b}`,
      `roomIds=${a}%2C${b}`,
      `roomIds[]=${a}&roomIds[]=${b}`,
      `roomIds%5B%5D=${a}&roomIds%5B%5D=${b}`,
      `roomIds=${a},${b}&roomIds=${a}`,
    ]
    const readers = []
    for (const form of forms) readers.push(await EventReader.open(app, `${inbox}&${form}`))
    for (const reader of readers) expect((await reader.next()).type).toBe('ready')
    const witness = await EventReader.open(app, inbox)
    for (const [index, room] of [a, c, b].entries()) await say(app, room, `${index}`)
    while ((await witness.next()).message?.messageData !== '2');
    await app.close()
    for (const [index, reader] of readers.entries()) {
      const events = await reader.rest()
      const texts = events.flatMap(({ message }) => (message ? [message.messageData] : []))
      expect(texts, forms[index]).toEqual(['0', '2'])
    }
  })

  test('names each item that is wrong', async () => {
    await using app = await createTestApp()
    const room = await openRoom(app)
    for (const form of [
      `roomIds=${room}&roomIds=x`,
      `roomIds=${room},x`,
      `roomIds=${room}&roomIds=`,
    ]) {
      const answer = await send(app, { path: `${inbox}&${form}` })
      const errors = { 'roomIds.1': [expect.stringContaining('must be an id')] }
      expectFailure('v3', answer, { status: 400, errors })
    }
  })

  test('is documented as client generators send it: as a repeated key', async () => {
    await using app = await createTestApp()
    for (const path of ['/openapi.json', '/openapi-3.0.json']) {
      const { paths } = (await send(app, { path })).body as Json
      const lists = Object.entries(paths as Json).flatMap(([url, item]) =>
        ((item.get?.parameters ?? []) as unknown as Json[])
          .filter(({ schema }) => (schema?.type as unknown) === 'array')
          .map((parameter) => ({ url, ...parameter })),
      )
      expect(lists).toContainEqual(expect.objectContaining({ name: 'roomIds' }))
      for (const list of lists) expect(list).toMatchObject({ style: 'form', explode: true })
    }
  })
})

describe('another parameter that is given twice', () => {
  const reads = operationNames.filter((name) => {
    const { method } = operationNamed(name).rest
    return method === 'GET' || method === 'DELETE'
  })

  test.each(reads)('is a 400 that names it in %s of v3', async (name) => {
    await using app = await createTestApp()
    const { method, path } = operationNamed(name).rest
    const url = path.replace(/\{\w+\}/g, 'f'.repeat(24))
    const lists = matchV3(url)?.routes.get(method)?.lists ?? new Set()
    const scalars = Object.keys(operationNamed(name).input.shape)
    for (const key of scalars.filter((key) => !lists.has(key) && !path.includes(`{${key}}`))) {
      const answer = await send(app, { method, path: `${url}?${key}=1&limit=1&${key}=1` })
      const errors = { [key]: ['must be given only once'] }
      expectFailure('v3', answer, { status: 400, code: 'BAD_REQUEST', errors })
    }
  })

  test('is a 400 for a stream token, too', async () => {
    await using app = await createTestApp()
    const minted = await app.fetch('/api/v3/stream-tokens', json({}))
    const { token } = (await minted.json()) as { token: string }
    const answer = await send(app, { path: `${inbox}&streamToken=${token}&streamToken=${token}` })
    expectFailure('v3', answer, { errors: { streamToken: ['must be given only once'] } })
  })

  test('counts in v2 as it was given last', async () => {
    await using app = await createTestApp()
    await openRoom(app)
    const path = `/api/v2/room-list/?org_id=other&limit=x&org_id=${ORG}&limit=5`
    const { status, body } = await send(app, { path })
    expect([status, body?.rooms?.length]).toEqual([200, 1])
  })
})

describe('an empty body in chunks', () => {
  const empty = { chunked: true, body: '' }

  test('is no body, with a content type and without', async () => {
    await using app = await createTestApp()
    const room = await openRoom(app)
    const types = [
      {},
      { 'Content-Type': 'text/plain' },
      { 'Content-Type': 'application/json' },
      { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' },
    ] as Record<string, string>[]
    for (const headers of types) {
      const answers = [
        await send(app, { ...empty, headers, path: `/api/v3/rooms/${room}` }),
        await send(app, { ...empty, headers, path: `/api/v2/room-list/?org_id=${ORG}` }),
        await send(app, { ...empty, headers, path: '/api/v3/stream-tokens', method: 'POST' }),
        await send(app, { ...empty, headers, path: `/api/v3/rooms/${room}`, method: 'DELETE' }),
        await send(app, {
          ...empty,
          headers,
          path: `/api/v2/room-service/?type=delete_room&room_id=${room}`,
          method: 'DELETE',
        }),
        await send(app, {
          ...empty,
          headers,
          path: `/trpc/getRoomById?input=${encodeURIComponent(JSON.stringify({ json: { roomId: room } }))}`,
        }),
      ]
      const told = answers.map(({ text }) => text).join('\n')
      expect(
        answers.map(({ status }) => status),
        told,
      ).toEqual([200, 200, 201, 200, 200, 200])
    }
    const forms = ['application/x-www-form-urlencoded', 'multipart/form-data; boundary=x']
    for (const type of forms) {
      const answer = await send(app, {
        ...empty,
        path: `/api/v2/room-service/?type=get_room_by_id&room_id=${room}`,
        headers: { 'Content-Type': type },
      })
      expect(answer.status, answer.text).toBe(200)
    }
  })

  test('opens an event stream', async () => {
    await using app = await createTestApp()
    const req = request(`${app.url}${inbox}`, { headers: { 'Transfer-Encoding': 'chunked' } })
    req.end()
    const [res] = (await once(req, 'response')) as [IncomingMessage]
    res.destroy()
    expect([res.statusCode, res.headers['content-type']]).toEqual([
      200,
      expect.stringContaining('text/event-stream'),
    ])
  })

  test('leaves the media type of a single byte to be judged', async () => {
    await using app = await createTestApp()
    const room = await openRoom(app)
    for (const [surface, path] of [
      ['v3', `/api/v3/rooms/${room}/messages`],
      ['v2', '/api/v2/room-service/'],
      ['trpc', '/trpc/createMessage'],
    ] as const) {
      const answer = await send(app, { path, method: 'POST', chunked: true, body: ' ' })
      expectFailure(surface, answer, { status: 415 })
    }
  })
})

describe('the encoding of a body', () => {
  const encoders = {
    gzip: gzipSync,
    'x-gzip': gzipSync,
    'X-GZIP': gzipSync,
    deflate: deflateSync,
    br: brotliCompressSync,
    identity: (text: Buffer) => text,
  }

  test.each(Object.entries(encoders))(
    '%s is decoded for every media type',
    async (coding, encode) => {
      await using app = await createTestApp()
      const room_id = await openRoom(app)
      const fields = { type: 'create_message', room_id, auther: 'client', side: 'false' }
      const forms = [
        multipartV2({ ...fields, message_data: 'multipart' }),
        {
          ...multipartV2({}),
          headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
          body: new URLSearchParams({ ...fields, message_data: 'urlencoded' }).toString(),
        },
        {
          ...multipartV2({}),
          headers: { 'Content-Type': 'application/json' },
          body: JSON.stringify({ ...fields, message_data: 'JSON' }),
        },
      ]
      for (const { body, ...form } of forms) {
        const { status, text } = await send(app, {
          ...form,
          headers: { ...form.headers, 'Content-Encoding': coding },
          body: encode(Buffer.from(body as string)),
        })
        expect(status, text).toBe(200)
      }
      const messages = await surfaces.v2.read(app, room_id)
      expect(messages.map(({ text }) => text)).toEqual(['multipart', 'urlencoded', 'JSON'])
    },
  )

  test('is a 415 that lists the known ones for an unknown one, also of a multipart form', async () => {
    await using app = await createTestApp()
    const room_id = await openRoom(app)
    const fields = {
      type: 'create_message',
      room_id,
      auther: 'a',
      side: 'false',
      message_data: 'x',
    }
    const forms = [
      multipartV2(fields),
      {
        ...multipartV2({}),
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(fields),
      },
    ]
    for (const form of forms) {
      for (const coding of ['zip', 'zstd', 'gzip, gzip', '']) {
        const headers = { ...form.headers, 'Content-Encoding': coding }
        const answer = await send(app, { ...form, headers })
        expectFailure('v2', answer, { status: 415 })
        expect(answer.body?.message).toContain('gzip')
      }
    }
    expect(await surfaces.v2.read(app, room_id)).toEqual([])
  })

  test('bounds what a compressed multipart form grows to', async () => {
    await using app = await createTestApp()
    const { body, ...form } = multipartV2({ message_data: 'x'.repeat(2_000_000) })
    const headers = { ...form.headers, 'Content-Encoding': 'gzip' }
    const answer = await send(app, { ...form, headers, body: gzipSync(body as string) })
    expectFailure('v2', answer, { status: 413 })
  })
})

test('a multipart field with brackets does not replace the one without them', async () => {
  await using app = await createTestApp()
  const fields = { user_id: 'right', org_id: ORG, portfolio_name: 'p', product_name: 'p' }
  for (const more of [
    { 'user_id[]': 'wrong' },
    { 'user_id[0]': 'wrong' },
    { 'user_id[a]': 'wrong' },
  ]) {
    const form = multipartV2({ ...fields, ...more } as Record<string, string>)
    const { body, text } = await send(app, { ...form, path: '/api/v2/room-control/' })
    expect(body?.response?.user_id, text).toBe('right')
  }
})

test.each([
  ['gzip, chunked', '1.1'],
  ['chunked, gzip, chunked', '1.1'],
  ['identity, chunked', '1.1'],
  ['chunked', '1.0'],
])(
  'refuses Transfer-Encoding: %s in HTTP/%s, and closes the connection',
  async (coding, version) => {
    await using app = await createTestApp()
    const body = JSON.stringify({ userId: 'a', orgId: ORG, portfolioName: 'p', productName: 'p' })
    const head = `POST /api/v3/rooms HTTP/${version}\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: keep-alive`
    const bytes = `${head}\r\nTransfer-Encoding: ${coding}\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
    const answer = parseRaw(await raw(app, bytes))
    expect(answer.status, answer.text).toBe(400)
    expect(answer.headers.connection).toBe('close')
    const { rooms } = (await send(app, { path: `/api/v2/room-list/?org_id=${ORG}` })).body as Json
    expect(rooms).toEqual([])
  },
)
