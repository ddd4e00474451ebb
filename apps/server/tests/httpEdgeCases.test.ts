import { readFile } from 'node:fs/promises'
import { matchV3, operationNamed, operationNames } from '@dowell-chat/api'
import { describe, expect, test } from 'vitest'
import { expectFailure, type Json, type Outgoing, send, sendJson } from './http.ts'
import { createTestApp, documentedRoom, openRoom, type TestApp } from './support.ts'
import { everySurface, formV2, multipartV2, surfaces, trpc } from './surfaces.ts'

// What trpc-to-openapi and tRPC would do by themselves, a test for each trap.

describe('1: REST reads text as values, tRPC never does', () => {
  const fields = { type: 'create_message', message_data: 'hello', auther: 'client' }
  const ways: Record<string, (room: string, side: string) => Outgoing> = {
    'v2 JSON': (room_id, side) => ({
      ...formV2({}),
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ ...fields, room_id, side }),
    }),
    'v2 urlencoded': (room_id, side) => formV2({ ...fields, room_id, side }),
    'v2 multipart': (room_id, side) => multipartV2({ ...fields, room_id, side }),
    'v3 JSON': (room, side) => ({
      path: `/api/v3/rooms/${room}/messages`,
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ messageData: 'hello', author: 'client', side }),
    }),
  }

  for (const [name, say] of Object.entries(ways)) {
    test(`${name} reads a side by its meaning, and tRPC stays strict`, async () => {
      await using app = await createTestApp()
      const room = await openRoom(app)
      const words = ['false', 'true', '0', '1', 'False', 'TRUE', 'no', 'yes', 'off', 'on']
      for (const word of words) {
        const { status, text } = await send(app, say(room, word))
        expect(status, text).toBeLessThan(300)
      }
      const said = await surfaces.trpc.read(app, room)
      expect(said.map(({ side }) => side)).toEqual(words.map((_, index) => index % 2 === 1))
      for (const word of ['', 'maybe', '2', 'null']) {
        const surface = name.startsWith('v2') ? 'v2' : 'v3'
        const errors = { side: ['must be true or false'] }
        expectFailure(surface, await send(app, say(room, word)), { status: 400, errors })
      }
      for (const side of ['false', 'true', '0', 0, 1, null]) {
        const answer = await surfaces.trpc.say(app, { room, text: 'x', side })
        const errors = { side: ['must be true or false'] }
        expectFailure('trpc', answer, { status: 400, code: 'BAD_REQUEST', errors })
      }
      expect(await surfaces.v3.read(app, room)).toHaveLength(words.length)
    })
  }

  test('numbers: a limit is text in a URL, and a number over tRPC', async () => {
    await using app = await createTestApp()
    const room = await openRoom(app)
    const rest = [
      `/api/v2/room-list/?org_id=DOWELL12345&limit=5`,
      `/api/v2/room-service/?type=get_messages&room_id=${room}&limit=5`,
      '/api/v3/rooms?orgId=DOWELL12345&limit=5',
      `/api/v3/rooms/${room}/messages?limit=5`,
    ]
    for (const path of rest) {
      expect((await send(app, { path })).status, path).toBe(200)
      for (const limit of ['', '0', '5.5', '1e2', '0x5', ' 5', 'five', '-1', '9'.repeat(15)]) {
        const surface = path.startsWith('/api/v2') ? 'v2' : 'v3'
        // A form sends its empty fields too.
        if (surface === 'v2' && limit === '') continue
        const answer = await send(app, { path: path.replace(/5$/, encodeURIComponent(limit)) })
        const errors = { limit: [expect.stringContaining('must be a whole number')] }
        expectFailure(surface, answer, { status: 400, errors })
      }
    }
    for (const limit of ['5', true, null, [5], 5.5]) {
      for (const [name, input] of [
        ['getMessages', { roomId: room, limit }],
        ['listRooms', { orgId: 'DOWELL12345', limit }],
      ] as const) {
        const errors = { limit: [expect.any(String)] }
        expectFailure('trpc', await trpc(app, name, input), { status: 400, errors })
      }
    }
  })

  test('booleans of a DELETE, and of a GET with a body', async () => {
    await using app = await createTestApp()
    const room = await openRoom(app)
    const isActive = async () =>
      (await send(app, { path: `/api/v3/rooms/${room}` })).body?.isActive as unknown
    const remove = (isActive: string) =>
      send(app, { path: `/api/v3/rooms/${room}?isActive=${isActive}`, method: 'DELETE' })
    await remove('false')
    expect(await isActive()).toBe(false)
    await remove('true')
    expect(await isActive()).toBe(true)
    expectFailure('v3', await remove(''), { status: 400 })
    expect(await isActive()).toBe(true)
    for (const is_active of [false, true, 'false', 'true', 0, 1]) {
      const body = { type: 'delete_room', room_id: room, is_active }
      const { status, text } = await sendJson(app, '/api/v2/room-service/', body, 'GET')
      expect(status, text).toBe(200)
      expect(await isActive()).toBe(is_active === true || is_active === 'true' || is_active === 1)
    }
    expectFailure('trpc', await trpc(app, 'deleteRoom', { roomId: room, isActive: 'false' }), {
      status: 400,
    })
  })
})

describe('2: operations that share a URL and a method', () => {
  test('type chooses, for every method', async () => {
    await using app = await createTestApp()
    const room = await openRoom(app)
    const path = '/api/v2/room-service/'
    await surfaces.v2.say(app, { room, text: 'hello' })
    const messages = await send(app, { path: `${path}?type=get_messages&room_id=${room}` })
    expect(messages.body?.response).toHaveLength(1)
    const found = await send(app, { path: `${path}?type=get_room_by_id&room_id=${room}` })
    expect(found.body?.response?.[0]).toMatchObject({ _id: room, message_data: 'hello' })
    for (const method of ['GET', 'POST', 'DELETE']) {
      const answer = await sendJson(app, path, { type: 'delete_room', room_id: room }, method)
      expect(answer.body).toMatchObject({ success: true, message: 'Room deleted successfully' })
    }
    for (const method of ['GET', 'POST', 'DELETE']) {
      const answer = await sendJson(app, path, { type: 'nothing', room_id: room }, method)
      expectFailure('v2', answer, { status: 400, code: 'INVALID_REQUEST_TYPE' })
      expect(answer.body?.message).toBe('Invalid request type')
    }
  })

  test('their inner paths are nobody else’s', async () => {
    await using app = await createTestApp()
    const { paths } = await documentOf(app)
    expect(Object.keys(paths).filter((path) => path.startsWith('/api/v2/'))).toEqual([
      '/api/v2/room-control/',
      '/api/v2/room-service/',
      '/api/v2/room-list/',
    ])
    const answer = await sendJson(app, '/api/v2/room-service/create_message', {})
    expectFailure('v2', answer, { status: 404 })
  })

  test('the documents show the choice', async () => {
    await using app = await createTestApp()
    for (const path of ['/openapi.json', '/openapi-3.0.json']) {
      const { paths, components } = await documentOf(app, path)
      const { post, get } = paths['/api/v2/room-service/'] as unknown as Operations
      const { schema, examples } = post?.requestBody?.content['application/json'] ?? {}
      const shared = components.schemas?.[schema?.$ref?.split('/').at(-1) ?? ''] as Json
      expect(shared.oneOf).toHaveLength(2)
      expect(shared.discriminator).toEqual({
        propertyName: 'type',
        mapping: {
          create_message: '#/components/schemas/CreateMessageV2Request',
          delete_room: '#/components/schemas/DeleteRoomV2Request',
        },
      })
      expect(Object.keys(examples ?? {})).toEqual(['create_message', 'delete_room'])
      expect(get?.parameters?.find(({ name }) => name === 'type')).toMatchObject({
        required: true,
        schema: { enum: ['get_messages', 'get_room_by_id', 'delete_room'] },
      })
    }
  })
})

test('3: a body is read whatever parameters and casing its content type has', async () => {
  await using app = await createTestApp()
  const room = await openRoom(app)
  const types = [
    'application/json',
    'application/json; charset=utf-8',
    'Application/JSON;charset="UTF-8"',
  ]
  types.push('application/json ; foo=bar')
  for (const type of types) {
    const fields = { type: 'create_message', room_id: room, side: true, auther: 'a' }
    const message = { messageData: type, side: true, author: 'a' }
    const bodies: Outgoing[] = [
      { path: '/api/v2/room-service', body: JSON.stringify({ ...fields, message_data: type }) },
      { path: `/api/v3/rooms/${room}/messages`, body: JSON.stringify(message) },
      { path: '/trpc/createMessage', body: JSON.stringify({ json: { roomId: room, ...message } }) },
    ]
    for (const outgoing of bodies) {
      for (const chunked of [false, true]) {
        const headers = { 'Content-Type': type }
        const answer = await send(app, { ...outgoing, method: 'POST', headers, chunked })
        expect(answer.status, answer.text).toBeLessThan(300)
      }
    }
  }
  const said = await surfaces.v3.read(app, room)
  expect(said.map(({ text }) => text)).toEqual(types.flatMap((type) => Array(6).fill(type)))
})

test('3: a body that begins with a byte order mark is read without it', async () => {
  await using app = await createTestApp()
  const room = await openRoom(app)
  const fields = { type: 'create_message', room_id: room, message_data: 'x', side: 'true' }
  const form = new URLSearchParams({ ...fields, auther: 'a' }).toString()
  const message = { messageData: 'x', side: true, author: 'a' }
  const sent = [
    ['/api/v2/room-service', 'application/json', JSON.stringify({ ...fields, auther: 'a' })],
    ['/api/v2/room-service', 'application/x-www-form-urlencoded', form],
    [`/api/v3/rooms/${room}/messages`, 'application/json', JSON.stringify(message)],
    [
      '/trpc/createMessage',
      'application/json',
      JSON.stringify({ json: { roomId: room, ...message } }),
    ],
  ] as const
  for (const [path, type, body] of sent) {
    const headers = { 'Content-Type': type }
    const answer = await send(app, { path, method: 'POST', headers, body: `\u{feff}${body}` })
    expect(answer.status, answer.text).toBeLessThan(300)
  }
})

describe('4: what stands in a URL', () => {
  test('a percent-encoded id is the id', async () => {
    await using app = await createTestApp()
    const room = await openRoom(app)
    const encoded = [...room].map((letter) => `%${letter.charCodeAt(0).toString(16)}`).join('')
    const path = `/api/v3/rooms/${encoded}`
    expect((await send(app, { path })).body).toMatchObject({ id: room })
    expect(
      (await send(app, { path: path.toUpperCase().replace('/API/V3/ROOMS', '/api/v3/rooms') }))
        .body,
    ).toMatchObject({ id: room })
    const said = await sendJson(app, `${path}/messages`, {
      messageData: 'x',
      author: 'a',
      side: true,
    })
    expect(said.status, said.text).toBe(201)
    const removed = await send(app, {
      path: `/api/v2/room%2Dservice/?type=delete_room&room_id=${encoded}`,
      method: 'DELETE',
    })
    expect(removed.status, removed.text).toBe(200)
  })

  test('inherited keys are no input', async () => {
    await using app = await createTestApp()
    const room = await openRoom(app)
    for (const key of ['constructor', '__proto__', 'toString', 'hasOwnProperty', 'valueOf']) {
      const v3 = await send(app, { path: `/api/v3/rooms/${room}?${key}=x` })
      expectFailure('v3', v3, { status: 400 })
      expect(v3.text).toContain(key)
      const v2 = `/api/v2/room-service/?type=get_room_by_id&room_id=${room}&${key}=x`
      expect((await send(app, { path: v2 })).status).toBe(200)
      const missing = await send(app, {
        path: `/api/v2/room-service/?type=get_room_by_id&${key}=x`,
      })
      expectFailure('v2', missing, { status: 400, errors: { room_id: ['is required'] } })
    }
  })

  test('an empty value is a value', async () => {
    await using app = await createTestApp()
    const unknown = await send(app, { path: '/api/v3/rooms?orgId=a&nothing=' })
    expectFailure('v3', unknown, { status: 400, errors: { nothing: ['is not a known key'] } })
    const empty = await send(app, { path: '/api/v3/rooms?orgId=' })
    expectFailure('v3', empty, { status: 400, errors: { orgId: ['must not be empty'] } })
  })

  test('of a key that v2 is given twice the last one counts', async () => {
    await using app = await createTestApp()
    const room = await openRoom(app)
    const path = `/api/v2/room-service/?type=nothing&type=get_room_by_id&room_id=x&room_id=${room}`
    expect((await send(app, { path })).status).toBe(200)
  })
})

describe('5: which path a URL means', () => {
  test('every documented path leads to its own operation', async () => {
    await using app = await createTestApp()
    const { paths } = await documentOf(app)
    for (const [path, operations] of Object.entries(paths)) {
      for (const method of Object.keys(operations)) {
        const url = path.replace(/\{\w+\}/g, 'literal')
        const outgoing = ['post'].includes(method)
          ? { headers: { 'Content-Type': 'application/json' }, body: '{"unknown":1}' }
          : {}
        const answer = await send(app, { path: url, method: method.toUpperCase(), ...outgoing })
        // Only its own schema, or the choice by type, refuses it; any name is an organisation's, and this caller has no key.
        const surface = path.startsWith('/api/v2') ? 'v2' : 'v3'
        const isAnyName = path === '/api/v3/organisations/{orgId}'
        expectFailure(surface, answer, { status: isAnyName ? 403 : 400 })
      }
    }
  })

  test('paths without parameters are tried before those with them', () => {
    const paths = new Set<string>(operationNames.map((name) => operationNamed(name).rest.path))
    const fixed = [...paths].filter((path) => !path.includes('{'))
    expect(fixed.length).toBeGreaterThan(5)
    for (const path of fixed) {
      const [route] = matchV3(path)?.routes.values() ?? []
      expect(route?.operation.rest.path).toBe(path)
    }
  })

  test('an encoded slash separates nothing, and a trailing one changes nothing', async () => {
    await using app = await createTestApp()
    const room = await openRoom(app)
    const encoded = await send(app, { path: `/api/v3/rooms/${room}%2Fmessages` })
    expectFailure('v3', encoded, { status: 400, errors: { roomId: [expect.any(String)] } })
    for (const path of [
      '/api/v3/rooms',
      `/api/v3/rooms/${room}`,
      `/api/v3/rooms/${room}/messages`,
    ]) {
      const query = path.endsWith('rooms') ? '?orgId=DOWELL12345' : ''
      const plain = await send(app, { path: path + query })
      expect(plain.status).toBe(200)
      expect((await send(app, { path: `${path}/${query}` })).text).toBe(plain.text)
    }
    expectFailure('v3', await send(app, { path: `/api/v3/rooms/${room}//messages` }), {
      status: 404,
    })
  })
})

describe('6: failures and statuses', () => {
  test('our own codes and texts reach the caller', async () => {
    await using app = await createTestApp()
    const room = await openRoom(app)
    await send(app, { path: `/api/v3/rooms/${room}`, method: 'DELETE' })
    for (const surface of everySurface) {
      const answer = await surfaces[surface].say(app, { room, text: 'x' })
      expectFailure(surface, answer, { status: 409, code: 'ROOM_CLOSED' })
      expect(answer.text).toContain('The room is deleted and takes no new messages')
      const invalid = await surfaces[surface].say(app, { room: 'x', text: 1, author: '' })
      expectFailure(surface, invalid, { status: 400, code: 'BAD_REQUEST' })
      expect(invalid.text).not.toContain('issues')
    }
  })

  test('what made something new is a 201, and documented as one', async () => {
    await using app = await createTestApp()
    for (const status of [201, 200]) {
      expect((await surfaces.v3.openRoom(app, 'a')).status).toBe(status)
    }
    const room = await openRoom(app)
    for (const status of [201, 200]) {
      const draft = { room, text: 'x', clientId: '0123456789abcdef' }
      expect((await surfaces.v3.say(app, draft)).status).toBe(status)
    }
    const { paths } = await documentOf(app)
    for (const path of ['/api/v3/rooms', '/api/v3/rooms/{roomId}/messages']) {
      const { post, get } = paths[path] as unknown as Operations
      expect(Object.keys(post?.responses ?? {})).toEqual(expect.arrayContaining(['200', '201']))
      expect(Object.keys(get?.responses ?? {})).not.toContain('201')
    }
  })

  test('each operation documents its own codes', async () => {
    await using app = await createTestApp()
    for (const document of ['/openapi.json', '/openapi-3.0.json']) {
      const { paths } = await documentOf(app, document)
      const codes = (path: string, method: 'get' | 'post' | 'delete', status: number) => {
        const operation = (paths[path] as unknown as Operations)[method]
        const examples = operation?.responses[status]?.content['application/json']?.examples
        return Object.entries(examples ?? {}).map(([code, example]) => {
          expect(example).toMatchObject({ value: { code } })
          return code
        })
      }
      expect(codes('/api/v3/rooms/{roomId}/messages', 'post', 409)).toEqual([
        'ROOM_CLOSED',
        'IDEMPOTENCY_CONFLICT',
      ])
      expect(codes('/api/v3/rooms/{roomId}', 'delete', 409)).toEqual(['ROOM_ALREADY_ACTIVE'])
      expect(codes('/api/v3/rooms/{roomId}', 'get', 409)).toEqual([])
      expect(codes('/api/v3/rooms/{roomId}', 'get', 404)).toEqual(['NOT_FOUND'])
      expect(codes('/api/v3/rooms', 'get', 404)).toEqual(['NOT_FOUND'])
      expect(codes('/api/v3/rooms', 'get', 400)).toEqual(['BAD_REQUEST'])
      expect(codes('/api/v3/rooms', 'post', 400)).toEqual(['BAD_REQUEST', 'PARSE_ERROR'])
      expect(codes('/api/v2/room-service/', 'get', 400)).toEqual([
        'BAD_REQUEST',
        'INVALID_REQUEST_TYPE',
      ])
      expect(codes('/api/v2/room-service/', 'post', 409)).toEqual([
        'ROOM_CLOSED',
        'IDEMPOTENCY_CONFLICT',
        'ROOM_ALREADY_ACTIVE',
      ])
    }
  })
})

test('7: production serves the same', async () => {
  async function answers(): Promise<unknown[]> {
    await using app = await createTestApp({}, { clock: () => 0, randomBytes: Buffer.alloc })
    const got = [
      await sendJson(app, '/api/v2/room-control/', documentedRoom),
      await sendJson(app, '/api/v2/room-control/', {}),
      await surfaces.v3.openRoom(app, 'a', 1),
      await surfaces.trpc.openRoom(app, 'a', 1),
      await trpc(app, 'nothing', {}),
    ]
    for (const path of ['/openapi.json', '/api/v3/rooms?orgId=DOWELL12345', '/docs', '/nothing']) {
      got.push(await send(app, { path }))
    }
    got.push(await send(app, { path: '/api/v3/rooms', method: 'POST', body: '{' }))
    return got.map(({ status, text }) => [status, text.replace(/"requestId":"[^"]+"/, '')])
  }
  const before = process.env.NODE_ENV
  const here = await answers()
  try {
    process.env.NODE_ENV = 'production'
    expect(await answers()).toEqual(here)
  } finally {
    process.env.NODE_ENV = before
  }
})

describe('8: the documents', () => {
  for (const path of ['/openapi.json', '/openapi-3.0.json']) {
    test(`${path}: times are date-times, and answers may grow`, async () => {
      await using app = await createTestApp()
      const { paths, components } = await documentOf(app, path)
      const times: [string, Json][] = []
      const seen = new Set<unknown>()
      const closed: string[] = []
      function walk(node: unknown, trail: string): void {
        if (typeof node !== 'object' || node === null || seen.has(node)) return
        seen.add(node)
        const { additionalProperties, properties, $ref } = node as Record<string, Json>
        if ((additionalProperties as unknown) === false) closed.push(trail)
        for (const [name, schema] of Object.entries(properties ?? {})) {
          if (/(At|_at)$/.test(name)) times.push([`${trail}.${name}`, schema])
        }
        const named = typeof $ref === 'string' && ($ref as string).split('/').at(-1)
        if (named) walk(components.schemas?.[named], named)
        for (const [key, value] of Object.entries(node)) walk(value, `${trail}.${key}`)
      }
      for (const [url, operations] of Object.entries(paths)) {
        for (const [method, operation] of Object.entries(operations)) {
          walk((operation as Json).responses, `${method} ${url}`)
        }
      }
      expect(closed).toEqual([])
      expect(times.length).toBeGreaterThanOrEqual(5)
      for (const [where, schema] of times) {
        expect(schema, where).toMatchObject({ format: 'date-time' })
        expect([schema.type].flat(), where).toContain('string')
      }
    })
  }

  test('and such times are what is answered', async () => {
    await using app = await createTestApp()
    await openRoom(app)
    const { body } = await send(app, { path: '/api/v3/rooms?orgId=DOWELL12345' })
    expect(body?.items?.[0]?.createdAt).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  })
})

test('9: tRPC and trpc-to-openapi are pinned, so that they move together', async () => {
  const workspace = await readFile(new URL('../../../pnpm-workspace.yaml', import.meta.url), 'utf8')
  for (const name of ['"@trpc/client"', '"@trpc/server"', 'trpc-to-openapi']) {
    expect(workspace).toMatch(new RegExp(`^  ${name}: \\d+\\.\\d+\\.\\d+$`, 'm'))
  }
})

describe('a tRPC batch has at most 50 calls', () => {
  const names = (name: string, count: number) => Array(count).fill(name).join()
  const batchOf = (count: number, input: unknown) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [index, { json: input }]))

  test('by POST', async () => {
    await using app = await createTestApp()
    const room = await openRoom(app)
    const post = (count: number) =>
      sendJson(
        app,
        `/trpc/${names('createMessage', count)}?batch=1`,
        batchOf(count, { roomId: room, messageData: 'x', author: 'a', side: true }),
      )
    expectFailure('trpc', await post(51), { status: 400, code: 'BAD_REQUEST' })
    expectFailure('trpc', await post(300), { status: 400, code: 'BAD_REQUEST' })
    expect(await surfaces.trpc.read(app, room)).toEqual([])
    expect((await post(50)).body).toHaveLength(50)
    expect(await surfaces.trpc.read(app, room)).toHaveLength(50)
  })

  test('by GET', async () => {
    await using app = await createTestApp()
    const get = (count: number) => {
      const input = encodeURIComponent(JSON.stringify(batchOf(count, { orgId: 'a' })))
      return send(app, { path: `/trpc/${names('listRooms', count)}?batch=1&input=${input}` })
    }
    expect((await get(50)).body).toHaveLength(50)
    expectFailure('trpc', await get(51), { status: 400, code: 'BAD_REQUEST' })
  })
})

interface Operation {
  readonly parameters?: { readonly name: string }[]
  readonly requestBody?: { readonly content: Record<string, Media> }
  readonly responses: Record<string, { readonly content: Record<string, Media> }>
}

interface Media {
  readonly schema?: { readonly $ref?: string }
  readonly examples?: Record<string, unknown>
}

type Operations = Partial<Record<'get' | 'post' | 'delete', Operation>>

async function documentOf(
  app: TestApp,
  path = '/openapi.json',
): Promise<{ paths: Record<string, Json>; components: Json }> {
  const { body } = await send(app, { path })
  return body as unknown as { paths: Record<string, Json>; components: Json }
}
