import type { Inputs } from '@dowell-chat/api'
import type { DowellChat } from '@dowell-chat/client'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { callVariantsOf } from './callVariants.ts'
import { as, bearer, createOrganisation, type Organisation, unlimited } from './credentials.ts'
import { ask } from './database.ts'
import { send } from './http.ts'
import { createTestApp, type TestApp } from './support.ts'

let app: TestApp
let org: Organisation
/** The organisation's key, and its people by their tokens. */
let key: DowellChat
let customer: DowellChat
let support: DowellChat
/** A new room of the customer's. */
let roomId: string
let rooms = 0

beforeAll(async () => {
  app = await createTestApp(unlimited)
  org = await createOrganisation(app, 'DOWELL12345')
  key = as(app, org.keys.support.secret)
  customer = as(app, org.tokens.customer)
  support = as(app, org.tokens.support)
})
afterAll(() => app[Symbol.asyncDispose]())

beforeEach(async () => {
  roomId = await makeRoom()
})

async function makeRoom(): Promise<string> {
  const identity = { userId: org.customer, orgId: org.id, portfolioName: 'umair' }
  return (await key.createRoom({ ...identity, productName: `reading ${++rooms}` })).room.id
}

/** How an input names a reader. */
type Named = { readerId?: string; readerSide?: boolean }

/** Sends one message for each letter: c as the customer, s as support. */
async function talk(letters: string): Promise<void> {
  for (const letter of letters) {
    const author = letter === 's' ? org.supporter : org.customer
    await key.createMessage({ roomId, messageData: 'text', side: letter === 's', author })
  }
}

async function deleteDirectly(...seqs: number[]): Promise<void> {
  for (const seq of seqs) {
    await ask(app, 'update messages set is_active = 0 where room_id = ? and seq = ?', roomId, seq)
  }
}

/** Where the room's markers were moved to, as the event log tells it. */
async function moves(): Promise<[userId: string, side: boolean, seq: number][]> {
  const { items } = await key.listEvents({ orgId: org.id, roomId, limit: 200 })
  return items.flatMap((event) => {
    if (event.type !== 'marker.moved') return []
    const { userId, side, seq } = event.marker
    return [[userId, side, seq]]
  })
}

describe.each(callVariantsOf('markRead'))('$title', (variant) => {
  const mark = async (input: Omit<Inputs['markRead'], 'roomId'>, token = org.tokens.customer) => {
    const { status, text } = await variant.call(app, { roomId, ...input }, bearer(token))
    // Each surface has the answer in a place of its own.
    const [, seq] = /"seq":(\d+)/.exec(text) ?? []
    const [, unread] = /"unread":(\d+)/.exec(text) ?? []
    return { status, text, seq: Number(seq), unread: Number(unread) }
  }

  test('moves the marker forward and never back, up to the last message', async () => {
    await talk('sscs')
    expect(await mark({ seq: 1 })).toMatchObject({ status: 200, seq: 1, unread: 2 })
    expect(await mark({ seq: 3 })).toMatchObject({ status: 200, seq: 3, unread: 1 })
    expect(await mark({ seq: 2 })).toMatchObject({ status: 200, seq: 3, unread: 1 })
    expect(await mark({ seq: 3 })).toMatchObject({ status: 200, seq: 3, unread: 1 })
    expect(await mark({ seq: 1_000_000 })).toMatchObject({ status: 200, seq: 4, unread: 0 })
    expect(await moves()).toEqual([
      [org.customer, false, 1],
      [org.customer, false, 3],
      [org.customer, false, 4],
    ])
  })

  test('keeps a marker for each person on each side', async () => {
    await talk('sc')
    const reader = { readerId: org.customer, readerSide: true }
    expect(await mark({ seq: 2 })).toMatchObject({ seq: 2, unread: 0 })
    expect(await mark({ seq: 1 }, org.tokens.support)).toMatchObject({ seq: 1, unread: 1 })
    const named = await mark({ seq: 0, ...reader }, org.keys.support.secret)
    expect(named).toMatchObject({ seq: 0, unread: 1 })
    expect(await moves()).toHaveLength(3)
  })

  test.each([
    [{ seq: -1 }, 'must be a whole number, 0 or more'],
    [{ seq: 1.5 }, 'must be a whole number, 0 or more'],
    [{ seq: 'last' }, 'must be a whole number, 0 or more'],
    [{}, 'is required'],
  ])('refuses %j', async (input, told) => {
    const { status, text } = await mark(input as { seq: number })
    expect(status).toBe(400)
    expect(text).toContain(`"seq":["${told}"]`)
  })
})

test('a marker works in a deleted room as well', async () => {
  await talk('s')
  await key.deleteRoom({ roomId })
  expect(await customer.markRead({ roomId, seq: 1 })).toMatchObject({ marker: { seq: 1 } })
  expect(await customer.getRoomSnapshot({ roomId })).toMatchObject({ unread: 0 })
})

test('a room without messages can be read up to nothing', async () => {
  expect(await customer.markRead({ roomId, seq: 5 })).toMatchObject({
    marker: { seq: 0 },
    unread: 0,
  })
  await talk('s')
  expect(await customer.markRead({ roomId, seq: 0 })).toMatchObject({ unread: 1 })
})

describe('who reads', () => {
  const calls: [string, (chat: DowellChat, named: Named) => Promise<unknown>][] = [
    ['markRead', (chat, named) => chat.markRead({ roomId, seq: 1, ...named })],
    ['getRoomSnapshot', (chat, named) => chat.getRoomSnapshot({ roomId, ...named })],
    ['listRooms', (chat, named) => chat.listRooms({ orgId: org.id, ...named })],
    [
      'setTyping',
      (chat, { readerId: userId, readerSide: side }) =>
        chat.setTyping({
          roomId,
          isTyping: true,
          ...(userId === undefined ? {} : { userId }),
          ...(side === undefined ? {} : { side }),
        }),
    ],
  ]

  describe.each(calls)('in %s', (name, call) => {
    const isTyping = name === 'setTyping'
    const idField = isTyping ? 'userId' : 'readerId'
    const sideField = isTyping ? 'side' : 'readerSide'

    test('a token is itself, and may say so', async () => {
      await call(customer, {})
      await call(customer, { readerId: org.customer, readerSide: false })
      await call(support, { readerSide: true })
    })

    test('a token is nobody else', async () => {
      await expect(call(customer, { readerId: org.otherCustomer })).rejects.toMatchObject({
        code: 'FORBIDDEN',
        errors: { [idField]: ['must be the user of the token'] },
      })
      await expect(call(support, { readerSide: false })).rejects.toMatchObject({
        code: 'FORBIDDEN',
        errors: { [sideField]: ['must be true, the side of the token'] },
      })
    })

    test('a key names a whole person', async () => {
      await call(key, { readerId: 'Amara', readerSide: true })
      await expect(call(key, { readerId: 'Amara' })).rejects.toMatchObject({
        code: 'BAD_REQUEST',
        errors: { [sideField]: [`is required together with ${idField}`] },
      })
      await expect(call(key, { readerSide: true })).rejects.toMatchObject({
        code: 'BAD_REQUEST',
        errors: { [idField]: [`is required together with ${sideField}`] },
      })
    })

    test('a key names somebody where somebody does something', async () => {
      if (name === 'getRoomSnapshot' || name === 'listRooms') return call(key, {})
      const text = ['is required of a caller without a user token']
      return expect(call(key, {})).rejects.toMatchObject({
        code: 'BAD_REQUEST',
        errors: { [idField]: text, [sideField]: text },
      })
    })
  })
})

describe('unread messages', () => {
  test('are those of the other side after the marker, deleted ones left out', async () => {
    await talk('sscsscc')
    await deleteDirectly(2, 5, 6)
    await customer.markRead({ roomId, seq: 3 })
    const unreadOf = async (chat: DowellChat, named: Named = {}) => {
      const { items } = await chat.listRooms({ orgId: org.id, limit: 200, ...named })
      const snapshot = await chat.getRoomSnapshot({ roomId, ...named })
      const unread = items.find(({ id }) => id === roomId)?.unread
      expect(snapshot.unread).toBe(unread)
      return unread
    }
    expect(await unreadOf(customer)).toBe(1)
    expect(await unreadOf(support)).toBe(2)
    expect(await unreadOf(key, { readerId: org.customer, readerSide: false })).toBe(1)
    expect(await unreadOf(key, { readerId: 'new', readerSide: false })).toBe(2)
    expect(await unreadOf(key)).toBe(null)
    await talk('s')
    expect(await unreadOf(customer)).toBe(2)
    // To write is not to read.
    await talk('c')
    expect(await unreadOf(customer)).toBe(2)
  })

  test('are told of every room of a page over REST, and not by v2', async () => {
    const headers = bearer(org.keys.read.secret)
    const query = `orgId=${org.id}&limit=3&readerId=Amara&readerSide=true`
    const { body } = await send(app, { path: `/api/v3/rooms?${query}`, headers })
    expect(body?.items).toEqual(
      Array(3).fill(expect.objectContaining({ unread: expect.any(Number) })),
    )
    const listed = await send(app, { path: `/api/v2/room-list/?org_id=${org.id}`, headers })
    expect(listed.text).not.toContain('unread')
  })

  test('are right when everything happens at once', async () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('send' as const), side: fc.boolean() }),
      fc.record({
        kind: fc.constant('mark' as const),
        seq: fc.nat({ max: 15 }),
        side: fc.boolean(),
      }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
        roomId = await makeRoom()
        const answers = await Promise.all(
          steps.map(async (step) => {
            const chat = step.side ? support : customer
            if (step.kind === 'send') {
              const author = step.side ? org.supporter : org.customer
              await chat.createMessage({ roomId, messageData: 'text', side: step.side, author })
              return []
            }
            const { marker } = await chat.markRead({ roomId, seq: step.seq })
            // As far as it was asked for, unless that was not written yet.
            return [{ side: step.side, asked: step.seq, seq: marker.seq }]
          }),
        )
        const { items } = await key.getMessages({ roomId, limit: 200 })
        const moved = await moves()
        for (const side of [true, false]) {
          const marks = answers.flat().filter((mark) => mark.side === side)
          const own = moved.filter((move) => move[1] === side).map(([, , seq]) => seq)
          // Each event is one step forward, and the furthest answer is where the last one went.
          expect(own).toEqual([...new Set(own)].sort((a, b) => a - b))
          expect(own.at(-1)).toBe(
            marks
              .map(({ seq }) => seq)
              .sort((a, b) => a - b)
              .at(-1),
          )
          const read = own.at(-1) ?? 0
          expect(read).toBeLessThanOrEqual(Math.max(0, ...marks.map(({ asked }) => asked)))
          const expected = items.filter((item) => item.seq > read && item.side !== side).length
          const { unread } = await (side ? support : customer).getRoomSnapshot({ roomId })
          expect(unread).toBe(expected)
        }
      }),
      { numRuns: 15 },
    )
  })
})

describe('a snapshot', () => {
  test('has the room, its newest messages, all markers and the place in the log', async () => {
    await talk('css')
    await customer.markRead({ roomId, seq: 2 })
    await support.markRead({ roomId, seq: 3 })
    const snapshot = await customer.getRoomSnapshot({ roomId, limit: 2 })
    expect(snapshot.room).toEqual(await customer.getRoomById({ roomId }))
    expect(snapshot.messages).toEqual(await customer.getMessages({ roomId, limit: 2 }))
    expect(snapshot.unread).toBe(1)
    expect(snapshot.markers).toMatchObject([
      { roomId, userId: org.customer, side: false, seq: 2 },
      { roomId, userId: org.supporter, side: true, seq: 3 },
    ])
    const { items } = await key.listEvents({ orgId: org.id, after: snapshot.cursor })
    expect(items).toEqual([])
    await talk('c')
    const later = await key.listEvents({ orgId: org.id, after: snapshot.cursor })
    expect(later.items).toMatchObject([
      { type: 'message.created', position: snapshot.position + 1, message: { seq: 4 } },
    ])
  })

  test('has the customer and the 100 others whose markers moved last', async () => {
    await customer.markRead({ roomId, seq: 0 })
    await talk('c')
    for (let i = 0; i < 102; i++) {
      await key.markRead({ roomId, seq: 1, readerId: `reader ${i}`, readerSide: true })
    }
    // One millisecond each, whatever the clock said.
    await ask(
      app,
      'update read_markers set updated_at = cast(substr(user_id, 8) as integer) where room_id = ? and side = 1',
      roomId,
    )
    const { markers } = await support.getRoomSnapshot({ roomId })
    expect(markers.map(({ userId }) => userId)).toEqual([
      org.customer,
      ...Array.from({ length: 100 }, (_, i) => `reader ${101 - i}`),
    ])
  })
})

test('nobody types in a deleted room', async () => {
  await key.deleteRoom({ roomId })
  await expect(customer.setTyping({ roomId, isTyping: true })).rejects.toMatchObject({
    code: 'ROOM_CLOSED',
  })
})

test.each(callVariantsOf('setTyping'))('$title says when typing lapses', async (variant) => {
  const token = bearer(org.tokens.customer)
  const { status, text } = await variant.call(app, { roomId, isTyping: true }, token)
  expect(status).toBe(200)
  expect(text).toMatch(/"expiresAt":"[0-9T:.-]+Z"/)
})
