import { METHODS } from 'node:http'
import { gzipSync } from 'node:zlib'
import { createTestStore, runs } from '@dowell-chat/db/testing'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ask, type Rows } from './database.ts'
import { hostileRequest } from './hostileRequests.ts'
import {
  type Answer,
  expectFailure,
  type Outgoing,
  parseRaw,
  raw,
  type Surface,
  send,
  sendJson,
} from './http.ts'
import { startServer } from './serverProcess.ts'
import { createTestApp, documentedRoom, openRoom, type TestApp } from './support.ts'
import { everySurface, formV2, multipartV2, surfaces, trpc } from './surfaces.ts'

let app: TestApp
/** A room that no hostile request names, and one that they may. */
let kept: string
let exposed: string
let before: unknown

beforeAll(async () => {
  app = await createTestApp()
  kept = await openRoom(app, 'kept')
  exposed = await openRoom(app, 'exposed')
  for (const surface of everySurface) {
    await surfaces[surface].say(app, { room: kept, text: `by ${surface}` })
  }
  before = await stored()
})

afterAll(async () => {
  const { status } = await send(app, { path: '/readyz' })
  const after = await stored()
  await app[Symbol.asyncDispose]()
  expect(status).toBe(200)
  expect(after).toEqual(before)
})

/** What the database has of the room that nobody names. */
async function stored(): Promise<Rows[]> {
  return [
    await ask(app, 'select * from rooms where id = ?', kept),
    await ask(app, 'select * from messages where room_id = ? order by seq', kept),
    app.databaseUrl.startsWith('sqlite:') ? await ask(app, 'pragma integrity_check') : [],
  ]
}

const MEGABYTE = 1024 * 1024
const json = { 'Content-Type': 'application/json' }
const rooms = '/api/v3/rooms'
const service = '/api/v2/room-service/'
const control = '/api/v2/room-control/'
const unknownId = '0123456789abcdef01234567'

/** One writing request of each surface, with this body. */
function writes(body: string | Buffer, headers: Record<string, string> = json) {
  return [
    ['v2', { path: service, method: 'POST', headers, body }],
    ['v2', { path: control, method: 'POST', headers, body }],
    ['v3', { path: rooms, method: 'POST', headers, body }],
    ['v3', { path: `${rooms}/${exposed}/messages`, method: 'POST', headers, body }],
    ['trpc', { path: '/trpc/createMessage', method: 'POST', headers, body }],
    ['trpc', { path: '/trpc/createMessage,createRoom?batch=1', method: 'POST', headers, body }],
  ] as const satisfies [Surface, Outgoing][]
}

describe('a body that cannot be read is a 400', () => {
  const broken = {
    'not JSON': '{"roomId":',
    'a word': 'nonsense',
    'single quotes': "{'a':1}",
    'a trailing comma': '{"a":1,}',
    'invalid UTF-8': Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]),
    NUL: '\0',
    'a byte order mark alone': '\ufeff',
    'half an array': '['.repeat(100_000),
  }
  for (const [name, body] of Object.entries(broken)) {
    test(name, async () => {
      for (const [surface, outgoing] of writes(body)) {
        expectFailure(surface, await send(app, outgoing), { status: 400 })
      }
    })
  }

  test('one that is no object', async () => {
    for (const body of ['null', '[]', '1', '"text"', 'true', '[{}]', '-0', '1e999']) {
      for (const [surface, outgoing] of writes(body)) {
        expectFailure(surface, await send(app, outgoing), { status: 400 })
      }
    }
  })

  test('an empty one', async () => {
    for (const [surface, outgoing] of writes('')) {
      expectFailure(surface, await send(app, outgoing), { status: 400 })
    }
  })

  test('one that is nested very deeply', async () => {
    const depth = 100_000
    for (const [open, close] of [
      ['[', ']'],
      ['{"a":', '}'],
    ] as const) {
      const deep = `${open.repeat(depth)}1${close.repeat(depth)}`
      // Of 200 kB and up to 600 kB, so either too large or too deep.
      for (const body of [deep, `{"json":${deep}}`, `{"0":{"json":${deep}}}`]) {
        for (const [surface, outgoing] of writes(body)) {
          const answer = await send(app, outgoing)
          expectFailure(surface, answer)
          expect([400, 413]).toContain(answer.status)
        }
      }
    }
  })

  test('broken forms', async () => {
    const multipart = { 'Content-Type': 'multipart/form-data; boundary=x' }
    const bodies: [string, Record<string, string>][] = [
      ['--x\r\nContent-Disposition: form-data; name="type"\r\n\r\ncreate_message', multipart],
      ['--x\r\nContent-Disposition: nonsense\r\n\r\n--x--', multipart],
      ['nothing of the kind', multipart],
      ['--x--', { 'Content-Type': 'multipart/form-data' }],
      [multipartV2({ type: 'create_message' }).body as string, multipart],
      ['%', { 'Content-Type': 'application/x-www-form-urlencoded' }],
      ['%ff%fe=%00', { 'Content-Type': 'application/x-www-form-urlencoded' }],
      [`a=${'&a='.repeat(2_000)}`, { 'Content-Type': 'application/x-www-form-urlencoded' }],
    ]
    for (const [body, headers] of bodies) {
      for (const path of [service, control]) {
        const answer = await send(app, { path, method: 'POST', headers, body })
        expectFailure('v2', answer)
        expect([400, 413], answer.text).toContain(answer.status)
      }
    }
  })

  test('a file where text belongs', async () => {
    const body =
      '--x\r\nContent-Disposition: form-data; name="message_data"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\nhello\r\n--x--\r\n'
    const headers = { 'Content-Type': 'multipart/form-data; boundary=x' }
    const answer = await send(app, { path: service, method: 'POST', headers, body })
    expectFailure('v2', answer, { status: 400, errors: { message_data: [expect.any(String)] } })
  })
})

describe('a body that is too large is a 413', () => {
  for (const chunked of [false, true]) {
    test(chunked ? 'in chunks, without a length' : 'with its length', async () => {
      const large = JSON.stringify({ messageData: 'x'.repeat(4 * MEGABYTE) })
      for (const [surface, outgoing] of writes(large)) {
        const answer = await send(app, { ...outgoing, chunked })
        expectFailure(surface, answer, { status: 413, code: 'PAYLOAD_TOO_LARGE' })
      }
      const forms = [
        formV2({ message_data: 'x'.repeat(MEGABYTE) }),
        multipartV2({ message_data: 'x'.repeat(MEGABYTE) }),
        multipartV2(
          Object.fromEntries(Array.from({ length: 900 }, (_, i) => [`f${i}`, 'x'.repeat(1024)])),
        ),
        // Each field and their number would do; all of them together do not.
        multipartV2(
          Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`f${i}`, 'x'.repeat(100_000)])),
        ),
      ]
      for (const outgoing of forms) {
        const answer = await send(app, { ...outgoing, chunked })
        expectFailure('v2', answer, { status: 413, code: 'PAYLOAD_TOO_LARGE' })
      }
    })
  }

  test('though its client still sends it', async () => {
    // Not in this process, which sends.
    await using store = await createTestStore()
    await using server = await startServer({ DATABASE_URL: store.url })
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

  test('compressed, so that it only looks small', async () => {
    const bomb = gzipSync(Buffer.alloc(64 * MEGABYTE, ' '))
    for (const [surface, outgoing] of writes(bomb, { ...json, 'Content-Encoding': 'gzip' })) {
      const answer = await send(app, outgoing)
      expectFailure(surface, answer)
      expect(answer.status).toBe(413)
    }
  })
})

describe('a content type that is not supported is a 415', () => {
  const types = ['text/plain', 'application/xml', 'application/jsonx', 'nonsense', 'a/b;;', '*/*']
  for (const type of types) {
    test(type, async () => {
      for (const [surface, outgoing] of writes('{"a":1}', { 'Content-Type': type })) {
        const answer = await send(app, outgoing)
        expectFailure(surface, answer, { status: 415, code: 'UNSUPPORTED_MEDIA_TYPE' })
      }
    })
  }

  test('none at all', async () => {
    for (const [surface, outgoing] of writes('{"a":1}', {})) {
      expectFailure(surface, await send(app, outgoing), { status: 415 })
    }
  })

  test('forms where only JSON is welcome', async () => {
    for (const { headers, body } of [formV2({ a: '1' }), multipartV2({ a: '1' })]) {
      for (const [surface, outgoing] of writes(body as string, headers)) {
        if (surface !== 'v3') continue
        expectFailure(surface, await send(app, outgoing), { status: 415 })
      }
    }
  })

  test('an unknown charset or encoding', async () => {
    for (const headers of [
      { 'Content-Type': 'application/json; charset=klingon' },
      { ...json, 'Content-Encoding': 'zip' },
    ]) {
      for (const [surface, outgoing] of writes('{"a":1}', headers)) {
        expectFailure(surface, await send(app, outgoing), { status: 415 })
      }
    }
  })

  test('an encoding that the body does not have is a 400', async () => {
    for (const [surface, outgoing] of writes('{"a":1}', { ...json, 'Content-Encoding': 'gzip' })) {
      expectFailure(surface, await send(app, outgoing), { status: 400 })
    }
  })
})

describe('a method that a path does not have is a 405 with Allow', () => {
  const paths: [Surface, string, string[]][] = [
    ['v2', control, ['POST', 'OPTIONS']],
    ['v2', service, ['GET', 'HEAD', 'POST', 'DELETE', 'OPTIONS']],
    ['v2', '/api/v2/room-list', ['GET', 'HEAD', 'OPTIONS']],
    ['v3', rooms, ['GET', 'HEAD', 'POST', 'OPTIONS']],
    ['v3', `${rooms}/${unknownId}`, ['GET', 'HEAD', 'PATCH', 'DELETE', 'OPTIONS']],
    ['v3', `${rooms}/${unknownId}/messages`, ['GET', 'HEAD', 'POST', 'OPTIONS']],
    ['trpc', '/trpc/createRoom', ['POST']],
    ['trpc', '/trpc/listRooms', ['GET', 'POST']],
    ['trpc', '/trpc/createRoom?batch=1', ['POST']],
    ['v3', '/healthz', ['GET', 'HEAD', 'OPTIONS']],
    ['v3', '/readyz', ['GET', 'HEAD', 'OPTIONS']],
    ['v3', '/openapi.json', ['GET', 'HEAD', 'OPTIONS']],
    ['v3', '/openapi-3.0.json', ['GET', 'HEAD', 'OPTIONS']],
    ['v3', '/docs', ['GET', 'HEAD', 'OPTIONS']],
  ]
  for (const [surface, path, allowed] of paths) {
    test(path.replace(unknownId, '{roomId}'), async () => {
      const refused = METHODS.filter(
        (method) => !['CONNECT', 'HEAD', 'OPTIONS', ...allowed].includes(method),
      )
      for (const method of refused) {
        const answer = await send(app, { path, method, headers: json })
        expectFailure(surface, answer, { status: 405, code: 'METHOD_NOT_ALLOWED' })
        const allow = answer.headers.allow?.split(', ') ?? []
        expect(allow, method).toEqual(expect.arrayContaining(surface === 'trpc' ? [] : allowed))
        expect(allow.length, method).toBeGreaterThan(0)
        expect(allow, method).not.toContain(method)
      }
    })
  }

  test('OPTIONS says what there is', async () => {
    for (const [, path, allowed] of paths) {
      const answer = await send(app, { path, method: 'OPTIONS' })
      expect(answer.status, path).toBe(204)
      expect(answer.headers.allow?.split(', '), path).toEqual(expect.arrayContaining(allowed))
    }
  })
})

test('what does not exist is a 404 in the shape of its surface', async () => {
  const paths: [Surface, string][] = [
    ['v2', '/api/v2'],
    ['v2', '/api/v2/rooms'],
    ['v2', '/api/v2/room-service/create_message'],
    ['v2', `${service}?type=get_room_by_id&room_id=${unknownId}`],
    ['v2', `${service}?type=get_messages&room_id=${unknownId}`],
    ['v2', `${service}?type=delete_room&room_id=${unknownId}`],
    ['v3', '/api/v3'],
    ['v3', '/api/v3/room'],
    ['v3', `${rooms}/${unknownId}`],
    ['v3', `${rooms}/${unknownId}/messages`],
    ['v3', `${rooms}/${unknownId}/messages/1/2`],
    ['v3', '/nothing'],
    ['v3', '/docs/nothing'],
    ['v3', '/docs/assets/nothing.js'],
    ['v3', '/docs/assets/%'],
    ['v3', '/docs/assets/..%2f..%2fpackage.json'],
    ['v3', '//nothing'],
    ['trpc', '/trpc'],
    ['trpc', '/trpc/'],
    ['trpc', '/trpc/nothing'],
    ['trpc', '/trpc/constructor'],
    ['trpc', '/trpc/__proto__'],
    ['trpc', '/trpc/nothing,__proto__?batch=1'],
  ]
  for (const [surface, path] of paths) {
    expectFailure(surface, await send(app, { path }), { status: 404, code: 'NOT_FOUND' })
  }
  for (const surface of everySurface) {
    const answer = await surfaces[surface].say(app, { room: unknownId, text: 'x' })
    expectFailure(surface, answer, { status: 404, code: 'NOT_FOUND' })
  }
})

test('what contradicts the stored state is a 409', async () => {
  const room = await openRoom(app, 'conflicts')
  for (const surface of everySurface) {
    const clientId = `conflict-${surface}-0123456789`
    const first = await surfaces[surface].say(app, { room, text: 'one', clientId })
    expect(first.status, first.text).toBeLessThan(300)
    const other = await surfaces[surface].say(app, { room, text: 'two', clientId })
    expectFailure(surface, other, { status: 409, code: 'IDEMPOTENCY_CONFLICT' })
  }
  await send(app, { path: `${rooms}/${room}`, method: 'DELETE' })
  for (const surface of everySurface) {
    const closed = await surfaces[surface].say(app, { room, text: 'three' })
    expectFailure(surface, closed, { status: 409, code: 'ROOM_CLOSED' })
  }
  await openRoom(app, 'conflicts')
  const restored = [
    ['v2', await send(app, { path: `${service}?type=delete_room&room_id=${room}&is_active=true` })],
    ['v3', await send(app, { path: `${rooms}/${room}?isActive=true`, method: 'DELETE' })],
    ['trpc', await trpc(app, 'deleteRoom', { roomId: room, isActive: true })],
  ] as const
  for (const [surface, answer] of restored) {
    expectFailure(surface, answer, { status: 409, code: 'ROOM_ALREADY_ACTIVE' })
  }
})

test('a URL that is too long is a 414, and headers that are too large a 431', async () => {
  const long = 'x'.repeat(9_000)
  const paths: [Surface, string][] = [
    ['v2', `${service}?type=get_messages&room_id=${long}`],
    ['v2', `/api/v2/${long}`],
    ['v3', `${rooms}?orgId=${long}`],
    ['v3', `${rooms}/${long}`],
    ['v3', `/${long}`],
    ['trpc', `/trpc/listRooms?input=${long}`],
    ['trpc', `/trpc/${long}`],
  ]
  for (const [surface, path] of paths) {
    expectFailure(surface, await send(app, { path }), { status: 414, code: 'URI_TOO_LONG' })
  }
  const large = `GET ${rooms} HTTP/1.1\r\nHost: localhost\r\nX-Large: ${'x'.repeat(64 * 1024)}\r\n\r\n`
  expectFailure('v3', parseRaw(await raw(app, large)), { status: 431, code: 'HEADERS_TOO_LARGE' })
})

test('a Host header that names no host is a 400', async () => {
  const paths: [Surface, string][] = [
    ['v2', `${service}?type=get_messages&room_id=${kept}`],
    ['v3', `${rooms}/${kept}`],
    ['v3', '/healthz'],
    ['trpc', '/trpc/listRooms'],
  ]
  const hosts = ['', 'Host: a b\r\n', 'Host: \r\n', 'Host: [::1\r\n', 'Host: a:99999\r\n']
  hosts.push('Host: localhost\r\nHost: b\r\n', 'Host: a/b\r\n', 'Host: a?b\r\n', 'Host: x@y\r\n')
  for (const [surface, path] of paths) {
    for (const host of hosts) {
      const answer = await raw(app, `GET ${path} HTTP/1.1\r\n${host}Connection: close\r\n\r\n`)
      expectFailure(surface, parseRaw(answer), { status: 400 })
    }
  }
})

test('a request line with a whole URL means its path', async () => {
  for (const path of [`${rooms}/${kept}`, `${service}?type=get_room_by_id&room_id=${kept}`]) {
    const answer = await raw(
      app,
      `GET http://localhost${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
    )
    expect(parseRaw(answer)).toMatchObject({ status: 200 })
    expect(answer).toContain(kept)
  }
})

test('garbage on the socket is a 400 and then the end', async () => {
  const garbage = [
    'nonsense\r\n\r\n',
    '\0\0\0\0\0\0\0\0',
    Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]),
    'GET / HTTP/9.9\r\n\r\n',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    `POST ${rooms} HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n`,
    `POST ${rooms} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}`,
    `POST ${rooms} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    `POST ${rooms} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`,
    `GET ${rooms} HTTP/1.1\r\nHost: localhost\r\nX-A: \x01\r\n\r\n`,
    'GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n',
  ]
  for (const bytes of garbage) {
    expectFailure('v3', parseRaw(await raw(app, bytes)), { status: 400 })
  }
})

test('an expectation that nobody knows is passed over', async () => {
  const answer = await send(app, { path: '/healthz', headers: { Expect: 'miracles' } })
  expect(answer.status).toBe(200)
})

test('a client that hangs up in the middle of its body harms nobody', async () => {
  for (const [, { path, method, headers }] of writes('')) {
    const types = [headers['Content-Type'], 'multipart/form-data; boundary=x', 'a/b']
    types.push('application/x-www-form-urlencoded')
    for (const type of types) {
      const head = `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${type}\r\n`
      await raw(app, `${head}Content-Length: 100\r\n\r\n{"type":`, { hangUp: true })
      await raw(app, `${head}Transfer-Encoding: chunked\r\n\r\n5\r\n--x`, { hangUp: true })
    }
  }
  await raw(app, 'GET /api/v3/rooms HTT', { hangUp: true })
  expect((await send(app, { path: '/healthz' })).status).toBe(200)
})

test('inherited names are plain unknown keys', async () => {
  for (const key of ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty']) {
    const bad: [Surface, Outgoing][] = [
      ['v3', { path: `${rooms}?orgId=a&${key}=x` }],
      ['v3', { path: `${rooms}?orgId=a&${key}[admin]=x` }],
      [
        'trpc',
        {
          path: `/trpc/listRooms?input=${encodeURIComponent(`{"json":{"orgId":"a","${key}":{"x":1}}}`)}`,
        },
      ],
      ...writes(
        `{"${key}":{"polluted":true},"json":{"${key}":{"polluted":true}},"0":{"${key}":{"polluted":true}}}`,
      ),
    ]
    for (const [surface, outgoing] of bad) {
      expectFailure(surface, await send(app, outgoing), { status: 400 })
    }
    // v2 passes over what it does not know, and these are nothing else.
    const fields = { type: 'create_message', room_id: exposed, message_data: 'x', side: 'false' }
    const named = [...Object.entries({ ...fields, auther: 'a' }), [key, 'polluted']]
    const sent = [
      {
        path: service,
        method: 'POST',
        headers: json,
        body: `{${named.map(([name, value]) => `"${name}":"${value}"`).join()}}`,
      },
      {
        path: service,
        method: 'POST',
        headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
        body: named.map((pair) => pair.join('=')).join('&'),
      },
      multipartV2({ ...fields, auther: 'a', [`${key}`]: 'polluted' }),
      { ...multipartV2({ ...fields, auther: 'a' }), path: `${service}?${key}=polluted&${key}.x=1` },
    ]
    for (const outgoing of sent) {
      const answer = await send(app, outgoing)
      expect(answer.status, answer.text).toBe(200)
    }
  }
  expect(({} as Record<string, unknown>).polluted).toBeUndefined()
})

describe('whatever is sent', () => {
  function surfaceOf(path: string): Surface {
    if (/^\/api\/v2(?![^/?])/.test(path)) return 'v2'
    return /^\/trpc(?![^/?])/.test(path) ? 'trpc' : 'v3'
  }

  function expectSound({ method, path }: Outgoing, answer: Answer): void {
    const { status, headers, text } = answer
    expect(status, text).toBeLessThan(500)
    expect(headers['x-request-id']).toMatch(/^[\w.-]{1,64}$/)
    if (status < 400) return
    if (method === 'HEAD') expect(text).toBe('')
    else expectFailure(surfaceOf(path), answer)
    if (status === 405) expect(headers.allow).toMatch(/^[A-Z]+(, [A-Z]+)*$/)
  }

  const inherited = Object.getOwnPropertyNames(Object.prototype)

  test('every answer is sound', async () => {
    await fc.assert(
      fc.asyncProperty(hostileRequest(exposed), async (it) => {
        expectSound(it, await send(app, it))
        expect(Object.getOwnPropertyNames(Object.prototype)).toEqual(inherited)
      }),
      { numRuns: runs(1_500, 500) },
    )
  })

  test('bytes that hardly are HTTP', async () => {
    const line = fc.oneof(
      fc.constantFrom(
        'GET / HTTP/1.1',
        'POST /api/v3/rooms HTTP/1.1',
        'Host: a',
        'Content-Length: 3',
      ),
      fc.constantFrom('Transfer-Encoding: chunked', 'Connection: close', '', '{}', '0', 'é: \0'),
      fc.string({ unit: 'binary', maxLength: 30 }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 8 }), async (lines) => {
        const answer = await raw(app, `${lines.join('\r\n')}\r\n\r\n`, { hangUp: true })
        expect(answer).not.toMatch(/^HTTP\/1\.1 5/m)
      }),
      { numRuns: 300 },
    )
  })

  test('and the server is alive', async () => {
    const { status, body } = await sendJson(app, control, documentedRoom)
    expect(status).toBe(200)
    expect(body).toMatchObject({ success: true })
  })
})
