import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { expectFailure, type Outgoing, type Surface, send, sendJson } from './http.ts'
import { createTestApp, openRoom, type TestApp } from './support.ts'
import { everySurface, formV2, multipartV2, surfaces, trpc } from './surfaces.ts'

let app: TestApp
let room: string

beforeAll(async () => {
  app = await createTestApp()
  room = await openRoom(app)
})

afterAll(() => app[Symbol.asyncDispose]())

/** The names that a surface has for a message's fields. */
const fieldNames = {
  v2: {
    text: 'message_data',
    author: 'auther',
    kind: 'message_type',
    clientId: 'client_message_id',
    room: 'room_id',
    user: 'user_id',
    org: 'org_id',
  },
  v3: {
    text: 'messageData',
    author: 'author',
    kind: 'messageType',
    clientId: 'clientMessageId',
    room: 'roomId',
    user: 'userId',
    org: 'orgId',
  },
  trpc: {
    text: 'messageData',
    author: 'author',
    kind: 'messageType',
    clientId: 'clientMessageId',
    room: 'roomId',
    user: 'userId',
    org: 'orgId',
  },
} as const satisfies Record<Surface, Record<string, string>>

/** One character, two UTF-16 units. */
const EMOJI = '😀'

async function expectAccepted(answer: Promise<{ status: number; text: string }>): Promise<void> {
  const { status, text } = await answer
  expect(status, text).toBeLessThan(300)
}

describe('the length of a text', () => {
  for (const surface of everySurface) {
    const { say, read } = surfaces[surface]
    const errors = (max: number) => ({
      [fieldNames[surface].text]: [`must have at most ${max} characters`],
    })

    test(`${surface}: counts characters, as many as 16,000`, async () => {
      const own = await openRoom(app, `long-${surface}`)
      const longest = ['x'.repeat(16_000), EMOJI.repeat(16_000), `${EMOJI.repeat(15_999)}é`]
      for (const text of longest) {
        await expectAccepted(say(app, { room: own, text }))
        for (const longer of [`${text}x`, text + EMOJI, text.repeat(2)]) {
          const answer = await say(app, { room: own, text: longer })
          expectFailure(surface, answer, {
            status: 400,
            code: 'BAD_REQUEST',
            errors: errors(16_000),
          })
        }
      }
      expect((await read(app, own)).map(({ text }) => text)).toEqual(longest)
      const empty = { [fieldNames[surface].text]: ['must not be empty'] }
      expectFailure(surface, await say(app, { room: own, text: '' }), {
        status: 400,
        errors: empty,
      })
    })

    test(`${surface}: MESSAGE_MAX_CHARS sets it`, async () => {
      await using small = await createTestApp({ MESSAGE_MAX_CHARS: '3' })
      const own = await openRoom(small)
      await expectAccepted(say(small, { room: own, text: EMOJI.repeat(3) }))
      const answer = await say(small, { room: own, text: EMOJI.repeat(4) })
      expectFailure(surface, answer, { status: 400, errors: errors(3) })
    })
  }

  test('a text as long as a great MESSAGE_MAX_CHARS fits into a body, even all escaped', async () => {
    await using large = await createTestApp({ MESSAGE_MAX_CHARS: '100000' })
    const own = await openRoom(large)
    const text = EMOJI.repeat(100_000)
    const escaped = '\\ud83d\\ude00'.repeat(100_000)
    const bodies: [string, string][] = [
      [
        '/api/v2/room-service/',
        `{"type":"create_message","room_id":"${own}","message_data":"${escaped}","side":true,"auther":"a"}`,
      ],
      [`/api/v3/rooms/${own}/messages`, `{"messageData":"${escaped}","side":true,"author":"a"}`],
      [
        '/trpc/createMessage',
        `{"json":{"roomId":"${own}","messageData":"${escaped}","side":true,"author":"a"}}`,
      ],
    ]
    for (const [path, body] of bodies) {
      const headers = { 'Content-Type': 'application/json' }
      await expectAccepted(send(large, { path, method: 'POST', headers, body }))
    }
    const fields = { type: 'create_message', room_id: own, side: 'true', auther: 'a' }
    await expectAccepted(send(large, formV2({ ...fields, message_data: text })))
    await expectAccepted(send(large, multipartV2({ ...fields, message_data: text })))
    // A page of about 1 MiB has two of them.
    const newest = await surfaces.v3.read(large, own)
    expect(newest.map(({ seq }) => seq)).toEqual([4, 5])
    const room = await send(large, { path: `/api/v3/rooms/${own}/messages?limit=3&after=bTow` })
    const first = (room.body as never as { items: { messageData: string }[] }).items
    expect([...newest.map((one) => one.text), ...first.map((one) => one.messageData)]).toEqual(
      Array(newest.length + first.length).fill(text),
    )
  })
})

describe('names and ids', () => {
  for (const surface of everySurface) {
    const names = fieldNames[surface]
    const { say, openRoom: open } = surfaces[surface]

    test(`${surface}: a name has 1 to 200 characters`, async () => {
      for (const fine of ['x', '0', 'x'.repeat(200), EMOJI.repeat(200)]) {
        await expectAccepted(open(app, fine, `${surface}-names`))
        await expectAccepted(open(app, surface, fine))
        await expectAccepted(say(app, { room, text: 'x', author: fine }))
      }
      const bad = [
        ['', 'must not be empty'],
        ['x'.repeat(201), 'must have at most 200 characters'],
        [EMOJI.repeat(201), 'must have at most 200 characters'],
        [undefined, 'is required'],
        [null, 'must be text'],
        [7, 'must be text'],
        [['x'], 'must be text'],
        [{}, 'must be text'],
      ] as const
      for (const [value, problem] of bad) {
        const text = [problem]
        expectFailure(surface, await open(app, value, 'o'), {
          status: 400,
          errors: { [names.user]: text },
        })
        // Left out, a helper's own organisation and author would stand in.
        if (value === undefined) continue
        expectFailure(surface, await open(app, 'u', value), {
          status: 400,
          errors: { [names.org]: text },
        })
        const said = await say(app, { room, text: 'x', author: value })
        expectFailure(surface, said, { status: 400, errors: { [names.author]: text } })
      }
    })

    test(`${surface}: an id is 24 characters of 0-9 and a-f`, async () => {
      for (const id of [
        'x',
        room.toUpperCase().replace(/[0-9]/g, 'A'),
        room.slice(1),
        `${room}0`,
      ]) {
        const answer = await say(app, { room: id, text: 'x' })
        expectFailure(surface, answer, {
          status: 400,
          errors: { [names.room]: [expect.stringContaining('must be an id')] },
        })
      }
      const answer = await say(app, { room: '0'.repeat(24), text: 'x' })
      expectFailure(surface, answer, { status: 404 })
    })

    test(`${surface}: a client's own id has 16 to 64 of the allowed characters`, async () => {
      const fine = ['a'.repeat(16), 'Z'.repeat(64), '0123456789_-aAzZ']
      for (const clientId of fine) {
        await expectAccepted(say(app, { room, text: 'x', author: `ids-${surface}`, clientId }))
      }
      const bad = [
        '',
        'a'.repeat(15),
        'a'.repeat(65),
        `${'a'.repeat(16)}\n`,
        `${'a'.repeat(15)}é`,
        `${'a'.repeat(16)} `,
        1e20,
        null,
      ]
      for (const clientId of bad) {
        const answer = await say(app, { room, text: 'x', clientId })
        const errors = { [names.clientId]: [expect.any(String)] }
        expectFailure(surface, answer, { status: 400, errors })
      }
    })

    test(`${surface}: the kind of a message is one of the known ones, in any casing`, async () => {
      for (const kind of ['text', 'TEXT', 'Image', 'file', 'audio', 'video', 'system']) {
        await expectAccepted(say(app, { room, text: 'x', kind }))
      }
      for (const kind of ['', 'texts', ' text', 7, null]) {
        const answer = await say(app, { room, text: 'x', kind })
        const errors = { [names.kind]: [expect.any(String)] }
        expectFailure(surface, answer, { status: 400, errors })
      }
    })
  }
})

describe('keys that nobody knows', () => {
  const room_ = () => ({ userId: 'u', orgId: 'o', portfolioName: 'p', productName: 'q' })
  const message = { messageData: 'x', author: 'a', side: true }

  test('are refused by v3 and tRPC, by name', async () => {
    const v3: [string, Outgoing][] = [
      ['GET', { path: '/api/v3/rooms?orgId=o&extra=1' }],
      ['GET', { path: `/api/v3/rooms/${room}?extra=1` }],
      ['DELETE', { path: `/api/v3/rooms/${room}?extra=1` }],
      ['GET', { path: `/api/v3/rooms/${room}/messages?extra=1` }],
      ['POST', { path: '/api/v3/rooms', body: JSON.stringify({ ...room_(), extra: 1 }) }],
      [
        'POST',
        { path: `/api/v3/rooms/${room}/messages`, body: JSON.stringify({ ...message, extra: 1 }) },
      ],
    ]
    for (const [method, outgoing] of v3) {
      const headers = { 'Content-Type': 'application/json' }
      const answer = await send(app, { ...outgoing, method, headers })
      expectFailure('v3', answer, { status: 400, errors: { extra: ['is not a known key'] } })
    }
    const calls: [string, object][] = [
      ['createRoom', room_()],
      ['createMessage', { ...message, roomId: room }],
      ['getMessages', { roomId: room }],
      ['getRoomById', { roomId: room }],
      ['deleteRoom', { roomId: room }],
      ['listRooms', { orgId: 'o' }],
    ]
    for (const [name, input] of calls) {
      const answer = await trpc(app, name, { ...input, extra: 1 })
      expectFailure('trpc', answer, { status: 400, errors: { extra: ['is not a known key'] } })
    }
    const path = `/api/v3/rooms/${room}/messages`
    expectFailure('v3', await sendJson(app, path, { ...message, roomId: room }), {
      status: 400,
      errors: { roomId: ['is taken from the path'] },
    })
    expectFailure('v3', await sendJson(app, `${path}?side=true`, message), {
      status: 400,
      errors: { side: ['must be in the body'] },
    })
    expect((await send(app, { path: `/api/v3/rooms/${room}` })).body?.isActive).toBe(true)
  })

  test('are passed over by v2', async () => {
    const fields = {
      type: 'create_message',
      room_id: room,
      message_data: 'x',
      auther: 'a',
      side: 'true',
      csrf: '1',
      limit: 'x',
    }
    await expectAccepted(sendJson(app, '/api/v2/room-service/?extra=1', fields))
    await expectAccepted(send(app, formV2(fields)))
    await expectAccepted(send(app, multipartV2(fields)))
    const paths = ['get_room_by_id', 'get_messages'].map(
      (type) => `/api/v2/room-service/?type=${type}&room_id=${room}&extra=1&_=123`,
    )
    for (const path of [...paths, '/api/v2/room-list/?org_id=o&extra=1']) {
      await expectAccepted(send(app, { path }))
    }
  })
})

/** Characters that some step of a chain of programs likes to change. */
const delicate = [
  '\ufeffbyte order mark',
  'in the \ufeff middle',
  'e\u0301 is not \u00e9',
  '\u1e9b\u0323 \ufb01 \u2126',
  '👩‍👩‍👧‍👦 👍🏽 🏳️‍🌈 🇩🇪 ☃︎',
  'lines\r\nof\rall\nkinds\ttabs\t',
  '  spaces \u00a0\u2003\u200b\u3000 ',
  '\u2028 and \u2029',
  'العربية \u202eback\u202c עברית',
  '\u{10ffff}\u{1f0a1}\ufffd\uffff',
  '%41+&=;"\'\\<b>&amp;{{}}$(x)',
  '{"json":1} null undefined true',
  '--between\r\n--between--',
  'NUL by name: \\0 \\u0000',
]

/** As a name may have it: without control characters, and without blanks at the ends. */
function nameOf(text: string): string {
  return `<${text.replace(/\p{Cc}/gu, '')}>`
}

/** A way to send a text, and which texts it can carry as they are. */
const ways: [
  string,
  (draft: {
    room: string
    text: string
    author: string
  }) => Promise<{ status: number; text: string }>,
][] = [
  ...everySurface.map(
    (surface) => [surface, (draft) => surfaces[surface].say(app, draft)] as (typeof ways)[number],
  ),
  ['v2 urlencoded', (draft) => send(app, formV2(fieldsOf(draft)))],
  ['v2 multipart', (draft) => send(app, multipartV2(fieldsOf(draft), 'f4b7c1d2e3'))],
]

function fieldsOf({ room, text, author }: { room: string; text: string; author: string }) {
  return { type: 'create_message', room_id: room, message_data: text, auther: author, side: 'true' }
}

describe('valid Unicode', () => {
  for (const [way, say] of ways) {
    test(`${way} keeps it byte for byte`, async () => {
      const own = await openRoom(app, `delicate-${way}`)
      for (const text of delicate)
        await expectAccepted(say({ room: own, text, author: nameOf(text) }))
      for (const surface of everySurface) {
        const said = await surfaces[surface].read(app, own)
        expect(said.map(({ text }) => text)).toEqual(delicate)
        expect(said.map(({ author }) => author)).toEqual(delicate.map(nameOf))
      }
    })
  }

  test('any text, in by every way and out by every surface', async () => {
    const allowed = fc
      .string({ unit: 'binary', minLength: 1, maxLength: 100 })
      .map((text) => `${text.toWellFormed().replaceAll('\0', '')}.`)
    await fc.assert(
      fc.asyncProperty(allowed, fc.constantFrom(...ways), async (text, [, say]) => {
        const own = await openRoom(app, 'any')
        await expectAccepted(say({ room: own, text, author: 'any' }))
        for (const surface of everySurface) {
          expect((await surfaces[surface].read(app, own)).at(-1)?.text).toBe(text)
        }
        await send(app, { path: `/api/v3/rooms/${own}`, method: 'DELETE' })
      }),
      { numRuns: 150 },
    )
  })

  test('in names, which mean the same only when they are the same', async () => {
    const ids = new Set<string>()
    for (const user of ['e\u0301', '\u00e9', 'E\u0301', 'é\ufe0f', 'é\u200d']) {
      const { body } = await surfaces.v3.openRoom(app, user, 'names')
      expect(body?.room).toMatchObject({ userId: user, roomRoomId: `13-${user}` })
      ids.add(body?.room?.id as unknown as string)
    }
    expect(ids.size).toBe(5)
  })

  test('in a query', async () => {
    for (const org of delicate.map(nameOf)) {
      await expectAccepted(surfaces.v3.openRoom(app, 'query', org))
      const path = `/api/v3/rooms?orgId=${encodeURIComponent(org)}`
      expect((await send(app, { path })).body?.items).toHaveLength(1)
      const v2 = `/api/v2/room-list/?org_id=${encodeURIComponent(org)}`
      expect((await send(app, { path: v2 })).body?.rooms).toHaveLength(1)
    }
  })
})

describe('text that no store would keep', () => {
  const control = [...Array(32).keys(), 127, 128, 133, 159].map((code) => String.fromCharCode(code))
  const halves = ['\ud800', '\udfff', 'a\ud83d', '\ude00a', '\ude00\ud83d']

  for (const surface of everySurface) {
    test(`${surface} refuses NUL and half surrogate pairs, and in names all control characters`, async () => {
      const { say, openRoom: open } = surfaces[surface]
      const names = fieldNames[surface]
      for (const bad of [...control, ...halves]) {
        const problem = expect.stringMatching(/control characters|valid Unicode|the character NUL/)
        const said = await say(app, { room, text: `a${bad}b` })
        if (bad === '\0' || halves.includes(bad)) {
          expectFailure(surface, said, { status: 400, errors: { [names.text]: [problem] } })
        } else expect(said.status).toBeLessThan(300)
        expectFailure(surface, await say(app, { room, text: 'x', author: `a${bad}b` }), {
          status: 400,
          errors: { [names.author]: [problem] },
        })
        expectFailure(surface, await open(app, `a${bad}b`), {
          status: 400,
          errors: { [names.user]: [problem] },
        })
      }
    })
  }

  test('bytes that are not UTF-8 are refused, in JSON and in forms', async () => {
    const broken = [[0xff], [0xc3], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80]]
    for (const bytes of broken) {
      const around = (before: string, after: string) =>
        Buffer.concat([Buffer.from(before), Buffer.from(bytes), Buffer.from(after)])
      const json = 'application/json'
      const fields = `type=create_message&room_id=${room}&side=true&auther=a`
      const multipart = multipartV2({ ...fieldsOf({ room, text: '@', author: 'a' }) })
      const [start = '', end = ''] = (multipart.body as string).split('@')
      const bodies: [Surface, string, string, Buffer][] = [
        [
          'v2',
          '/api/v2/room-service',
          json,
          around(
            `{"type":"create_message","room_id":"${room}","side":true,"auther":"a","message_data":"`,
            '"}',
          ),
        ],
        [
          'v3',
          `/api/v3/rooms/${room}/messages`,
          json,
          around('{"side":true,"author":"a","messageData":"', '"}'),
        ],
        [
          'trpc',
          '/trpc/createMessage',
          json,
          around(`{"json":{"roomId":"${room}","side":true,"author":"a","messageData":"`, '"}}'),
        ],
        [
          'v2',
          '/api/v2/room-service',
          'application/x-www-form-urlencoded',
          around(`${fields}&message_data=`, ''),
        ],
        [
          'v2',
          '/api/v2/room-service',
          'application/x-www-form-urlencoded',
          Buffer.from(
            `${fields}&message_data=${bytes.map((byte) => `%${byte.toString(16)}`).join('')}`,
          ),
        ],
        [
          'v2',
          '/api/v2/room-service',
          multipart.headers?.['Content-Type'] ?? '',
          around(start, end),
        ],
      ]
      for (const [surface, path, type, body] of bodies) {
        const headers = { 'Content-Type': type }
        const answer = await send(app, { path, method: 'POST', headers, body })
        expectFailure(surface, answer, { status: 400, code: 'PARSE_ERROR' })
      }
      const query = bytes.map((byte) => `%${byte.toString(16)}`).join('')
      for (const [surface, path] of [
        ['v2', `/api/v2/room-list?org_id=${query}`],
        ['v3', `/api/v3/rooms?orgId=${query}`],
      ] as const) {
        expectFailure(surface, await send(app, { path }), { status: 400 })
      }
    }
  })
})
