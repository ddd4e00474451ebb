import { createDowellChat, type FeedEvent } from '@dowell-chat/client'
import { insertRoom, nextPosition, openDatabase } from '@dowell-chat/db'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type CallVariant, callVariantsOf } from './callVariants.ts'
import { createOperator } from './credentials.ts'
import { send } from './http.ts'
import { createTestApp, openRoom, type TestApp } from './support.ts'
import { everySurface, formV2, multipartV2, surfaces } from './surfaces.ts'

let app: TestApp
let room: string

beforeAll(async () => {
  app = await createTestApp({ RATE_LIMIT_ADDRESS: '0', RATE_LIMIT_FAILURES: '0' })
  room = await openRoom(app)
})

afterAll(() => app[Symbol.asyncDispose]())

type Say = (roomId: string, text: string) => Promise<{ status: number; text: string }>

/** Every way to send a message. */
const ways: [string, Say][] = [
  ...callVariantsOf('createMessage').map(({ title, call }): [string, Say] => [
    title,
    (roomId, messageData) => call(app, { roomId, messageData, side: false, author: 'client' }),
  ]),
  ['v2 urlencoded', (roomId, text) => send(app, formV2(formOf(roomId, text)))],
  ['v2 multipart', (roomId, text) => send(app, multipartV2(formOf(roomId, text)))],
]

function formOf(room_id: string, message_data: string) {
  return { type: 'create_message', room_id, message_data, side: 'false', auther: 'client' }
}

/** Texts in which a reader sees nothing. */
const invisible: Record<string, string> = {
  'a space': ' ',
  'line ends and tabs': ' \t\r\n\v\f\u0085\u2028\u2029',
  'spaces of all widths': '\u00a0\u1680\u2000\u2009\u202f\u205f\u3000',
  'a byte order mark and joiners': '\ufeff\u200b\u200c\u200d\u2060',
  'marks of direction': '\u200e\u202e\u2066\u061c',
  'Hangul fillers': '\u115f\u1160\u3164\uffa0',
  'blank Braille': '\u2800',
  'a soft hyphen and a variation selector': '\u00ad\ufe0f\u{e0100}',
  tags: '\u{e0067}\u{e007f}',
  controls: '\u0001\u001b\u007f\u009f',
  'a null notehead': '\u{1d159}',
}

describe('a message', () => {
  for (const [way, say] of ways) {
    test(`${way}: needs a visible character`, async () => {
      for (const [name, text] of Object.entries(invisible)) {
        const reply = await say(room, text)
        expect({ name, status: reply.status }).toEqual({ name, status: 400 })
        expect(reply.text).toContain('must have a visible character')
        expect((await say(room, `${text}.${text}`)).status, name).toBeLessThan(300)
      }
      for (const text of ['\u0600', '\u0301', '\ue000', '\u{10fffe}', '\ufffd', '☃']) {
        expect((await say(room, text)).status).toBeLessThan(300)
      }
    })

    test(`${way}: keeps every Unicode scalar value but NUL`, async () => {
      const own = await openRoom(app, `scalars ${way}`)
      const codes = [
        ...Array(0x400).keys(),
        0x2028,
        0x2029,
        0xd7ff,
        0xe000,
        0xfffe,
        0xffff,
        0x10ffff,
      ]
      const text = codes
        .slice(1)
        .map((code) => String.fromCodePoint(code))
        .join('')
      const sent = [
        text,
        ...['\v', '\f', '\u001b', '\u0085', '\u009f', '\r\n'].map((c) => `${c}x${c}`),
      ]
      for (const each of sent) expect((await say(own, each)).status).toBeLessThan(300)
      for (const surface of everySurface) {
        const texts = (await surfaces[surface].read(app, own)).map((message) => message.text)
        expect(texts).toEqual(sent)
      }
    })

    test(`${way}: an error names the place of a NUL`, async () => {
      const reply = await say(room, '😀a\0b')
      expect(reply.status).toBe(400)
      expect(reply.text).toContain('must not have the character NUL: character 3 is U+0000')
    })
  }

  test.for(callVariantsOf('createMessage'))(
    '$title: an error names the place of half a pair',
    async ({ call }) => {
      const message = { roomId: room, messageData: '😀a\ude00', side: false, author: 'client' }
      const reply = await call(app, message)
      expect(reply.status).toBe(400)
      expect(reply.text).toContain('character 3 is U+DE00, half of a surrogate pair')
    },
  )

  test.for(callVariantsOf('updateMessage'))(
    '$title: an edit has the same rules',
    async ({ call }) => {
      const { text } = await surfaces.v3.say(app, { room, text: 'before' })
      const { message } = JSON.parse(text)
      const edit = (messageData: string) =>
        call(app, { roomId: room, messageId: message.id, messageData })
      for (const blank of Object.values(invisible)) expect((await edit(blank)).status).toBe(400)
      expect((await edit('a\0b')).text).toContain('character 2 is U+0000')
      expect((await edit('\u001b[1mbold\f')).status).toBe(200)
    },
  )
})

const PLACES_OF_DOTS = ['.', '..', '%2e', '%2E%2e', '.%2e', '%2e.']

/** Ids that may not be new, and why. */
const badIds: [string, string][] = [
  ...Object.entries(invisible).map(([name, text]): [string, string] => [
    text,
    name === 'line ends and tabs' || name === 'controls'
      ? 'must have no control characters: character'
      : 'must have a visible character',
  ]),
  ...PLACES_OF_DOTS.map((text): [string, string] => [text, `must not be ${text}`]),
  ['a\tb', 'must have no control characters: character 2 is U+0009'],
  ['a\u0085', 'must have no control characters: character 2 is U+0085'],
  [' a', 'must have no blanks at its ends'],
  ['a\u00a0', 'must have no blanks at its ends'],
  ['a\u200b', 'must have no blanks at its ends'],
  ['\ufeffa', 'must have no blanks at its ends'],
  ['a\0', 'must not have the character NUL: character 2 is U+0000'],
]

const goodIds = [
  '...',
  '.a',
  'a..',
  '%2f',
  '%2ea',
  'a b',
  '❤️',
  'می‌خواهم',
  '🏴󠁧󠁢󠁥󠁮󠁧󠁿',
  '/',
  '?',
  '\\',
  'é',
]

const identity = { userId: 'u', orgId: 'names', portfolioName: 'p', productName: 'q' }

describe('an id that is new', () => {
  const fields = Object.keys(identity) as (keyof typeof identity)[]
  const inRoom = {
    updateRoom: ['assignee', {}],
    markRead: ['readerId', { readerSide: true, seq: 0 }],
    setTyping: ['userId', { side: true, isTyping: false }],
  } as const

  async function expectRules(
    { call }: Pick<CallVariant, 'call'>,
    field: string,
    input: Record<string, unknown>,
  ): Promise<void> {
    for (const [value, problem] of badIds) {
      const reply = await call(app, { ...input, [field]: value })
      expect([reply.status, JSON.stringify(value)], reply.text).toEqual([
        400,
        JSON.stringify(value),
      ])
      expect(reply.text).toContain(problem)
      const wire = field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
      expect(reply.text).toMatch(new RegExp(`"(${field}|${wire})":`))
    }
    for (const value of goodIds) {
      const reply = await call(app, { ...input, [field]: value })
      expect(reply.status, reply.text).toBeLessThan(300)
      expect(reply.text).toContain(JSON.stringify(value))
    }
  }

  test.for(callVariantsOf('createRoom'))(
    '$title refuses what breaks the rules',
    async (variant) => {
      for (const field of fields) await expectRules(variant, field, identity)
    },
  )

  for (const [name, [field, input]] of Object.entries(inRoom)) {
    test.for(callVariantsOf(name as keyof typeof inRoom))(
      `$title refuses what breaks the rules in ${field}`,
      async (variant) => {
        const call: CallVariant['call'] = async (server, fields, headers) => {
          const reply = await variant.call(server, fields as never, headers)
          // This one answers only a time.
          return name === 'setTyping'
            ? { ...reply, text: reply.text + JSON.stringify(Object.values(fields)) }
            : reply
        }
        await expectRules({ call }, field, { roomId: room, ...input })
      },
    )
  }

  test('is refused for a token and for the organisation of a key', async () => {
    await using own = await createTestApp()
    await using operator = createOperator(own)
    for (const [value, problem] of badIds) {
      const token = operator.call.createUserToken({ orgId: 'o', userId: value, side: true })
      await expect(token).rejects.toMatchObject({
        cause: { errors: { userId: [expect.stringContaining(problem)] } },
      })
      for (const make of [
        () => operator.call.createApiKey({ orgId: value, right: 'read' }),
        () => operator.call.updateOrganisation({ orgId: value, products: ['x'] }),
      ]) {
        await expect(make()).rejects.toMatchObject({
          cause: { errors: { orgId: [expect.stringContaining(problem)] } },
        })
      }
    }
    for (const value of goodIds) {
      await operator.call.createUserToken({ orgId: 'o', userId: value, side: true })
      await operator.call.createApiKey({ orgId: value, right: 'read' })
    }
  })
})

test.for(callVariantsOf('createRoom'))(
  '$title: names have up to 200 characters, however many bytes these take',
  async ({ call, title }) => {
    // Without a pattern that the database could compress.
    const nameOf = (seed: number) =>
      Array.from({ length: 200 }, (_, n) =>
        String.fromCodePoint(0x20000 + ((seed + n * n * 7919) % 0xa000)),
      ).join('')
    const [userId, orgId, portfolioName, productName] = [1, 2, 3, 4].map((n) =>
      nameOf(n * 1_000 + title.length),
    )
    const input = { userId, orgId, portfolioName, productName }
    const first = await call(app, input)
    expect(first.status, first.text).toBeLessThan(300)
    const [id] = /[0-9a-f]{24}/.exec(first.text) ?? []
    expect((await call(app, input)).text).toContain(id)
    const other = await call(app, { ...input, productName: `${productName?.slice(0, -2)}x` })
    expect(other.status).toBeLessThan(300)
    expect(other.text).not.toContain(id)
  },
)

describe('a name that is new', () => {
  const padded = ' \u00a0\u200b\u3000Amara and Zoë \n'
  const trimmed = 'Amara and Zoë'

  test.for(callVariantsOf('createMessage'))(
    '$title: an author is trimmed, visible and one line',
    async ({ call }) => {
      const input = { roomId: room, messageData: 'x', side: true }
      for (const author of [...Object.values(invisible), '.', '..', 'a\nb']) {
        const reply = await call(app, { ...input, author })
        expect(reply.status, JSON.stringify(author)).toBe(400)
        expect(reply.text).toContain('"author":["must ')
      }
      expect((await call(app, { ...input, author: padded })).status).toBeLessThan(300)
      expect((await surfaces.v3.read(app, room)).at(-1)?.author).toBe(trimmed)
    },
  )

  test('v2 names the spelling of author that was sent', async () => {
    const { text } = await surfaces.v2.say(app, { room, text: 'x', author: '\u200b' })
    expect(JSON.parse(text).errors).toEqual({ auther: ['must have a visible character'] })
  })

  test.for(callVariantsOf('updateRoom'))(
    '$title: subjects and labels are trimmed and visible',
    async ({ call }) => {
      for (const text of [...Object.values(invisible), 'a\u001bb']) {
        expect((await call(app, { roomId: room, subject: text })).text).toMatch(
          /"subject":\["must /,
        )
        expect((await call(app, { roomId: room, labels: ['a', text] })).text).toMatch(
          /"labels.1":\["must /,
        )
      }
      expect((await call(app, { roomId: room, labels: ['..'] })).status).toBe(400)
      expect((await call(app, { roomId: room, labels: ['a', ' a'] })).text).toContain(
        'the same label twice',
      )
      const reply = await call(app, { roomId: room, subject: padded, labels: [padded] })
      expect(reply.text).toContain(`"subject":"${trimmed}"`)
      expect(reply.text).toContain(`"labels":["${trimmed}"]`)
      expect((await call(app, { roomId: room, subject: '..' })).text).toContain('"subject":".."')
      const long = `${' '.repeat(100)}${'x'.repeat(200)}${' '.repeat(100)}`
      expect((await call(app, { roomId: room, subject: long })).text).toContain(
        `"subject":"${long.trim()}"`,
      )
    },
  )

  test('names of keys and products are trimmed and visible', async () => {
    await using own = await createTestApp()
    await using operator = createOperator(own)
    const { apiKey } = await operator.call.createApiKey({ orgId: 'o', right: 'read', name: padded })
    expect(apiKey.name).toBe(trimmed)
    const { products } = await operator.call.updateOrganisation({ orgId: 'o', products: [padded] })
    expect(products).toEqual([trimmed])
    for (const text of Object.values(invisible)) {
      await expect(
        operator.call.createApiKey({ orgId: 'o', right: 'read', name: text }),
      ).rejects.toMatchObject({ code: 'BAD_REQUEST' })
      await expect(
        operator.call.updateOrganisation({ orgId: 'o', products: [text] }),
      ).rejects.toMatchObject({ code: 'BAD_REQUEST' })
    }
  })
})

/** Stores a room as an earlier version did, whatever its names. */
async function storeRoom(server: TestApp, orgId: string, userId: string): Promise<string> {
  const db = openDatabase({ url: server.databaseUrl })
  const id = crypto.randomUUID().replaceAll('-', '').slice(0, 24)
  await db.write(async (tx) => {
    const position = await nextPosition(tx, 'last_room_position', { orgId, now: 1 })
    await insertRoom(tx, {
      id,
      org_id: orgId,
      position,
      event_id: 'FB10100000001693018738#5535526',
      user_id: userId,
      portfolio_name: ' ',
      product_name: '\u200b',
      room_room_id: `\u200b-${userId}`,
      is_active: 1,
      last_seq: 0,
      last_message: null,
      created_at: 1,
      updated_at: 1,
    })
  })
  await db.close()
  return id
}

describe('an id from before the rules', () => {
  test.for(['..', '.', ' ', '\u200b', 'a\nb', 'bob '])('%j stays in use', async (old) => {
    await using own = await createTestApp()
    const roomId = await storeRoom(own, old, old)
    const names = { portfolioName: ' ', productName: '\u200b' }
    for (const { call } of callVariantsOf('createRoom')) {
      const { text, status } = await call(own, { orgId: old, userId: old, ...names })
      expect(status, text).toBe(200)
      expect(text).toContain(roomId)
    }
    for (const { call } of callVariantsOf('listRooms')) {
      expect((await call(own, { orgId: old, productName: '\u200b' })).text).toContain(roomId)
    }
    for (const { call } of callVariantsOf('markRead')) {
      const reader = { readerId: old, readerSide: false }
      expect((await call(own, { roomId, seq: 0, ...reader })).status).toBe(200)
    }
    // Another room of the same organisation and user, whose other names are new.
    const other = { ...identity, orgId: old, userId: old }
    expect((await callVariantsOf('createRoom')[0]?.call(own, other))?.status).toBe(200)
    await using operator = createOperator(own)
    const { secret } = await operator.call.createApiKey({ orgId: old, right: 'support' })
    const byKey = createDowellChat({ url: own.url, headers: { authorization: `Bearer ${secret}` } })
    const { token } = await byKey.createUserToken({ orgId: old, userId: old, side: false })
    const byUser = createDowellChat({ url: own.url, token: () => token })
    const sent = await byUser.createMessage({ roomId, messageData: 'x', side: false, author: old })
    expect(sent.message.author).toBe(old)
    expect((await byUser.getMessages({ roomId })).items).toEqual([sent.message])
  })
})

test.for(['..', '.', '%2e%2E', 'ü/1'])(
  "a feed of the user %j has this user's events only",
  async (userId) => {
    await using own = await createTestApp()
    const theirs = await storeRoom(own, 'o', userId)
    const others = await storeRoom(own, 'o', 'another')
    const chat = createDowellChat({ url: own.url })
    const seen: FeedEvent[] = []
    const say = (roomId: string) =>
      chat.createMessage({ roomId, messageData: 'x', side: true, author: 'a' })
    for await (const event of chat.user({ orgId: 'o', userId }).events()) {
      seen.push(event)
      if (event.type === 'reset') {
        await say(others)
        await say(theirs)
      }
      if (event.type === 'message.created') break
    }
    expect(seen.map((event) => 'roomId' in event && event.roomId)).toEqual([false, theirs])
  },
)
