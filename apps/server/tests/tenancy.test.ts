import { type CallName, callNames } from '@dowell-chat/api'
import { runs } from '@dowell-chat/db/testing'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { captureStatements, openDirectly, type Rows } from './database.ts'
import type { SentHeaders } from './http.ts'
import {
  as,
  bearer,
  createOrganisation,
  type Organisation,
  rights,
  signingKey,
  signingKeysOf,
  unlimited,
  type Voice,
} from './identities.ts'
import { createTestApp, type TestApp } from './support.ts'
import { type Reply, waysOf } from './ways.ts'

let app: TestApp

beforeAll(async () => {
  const env = { ...unlimited, TOKEN_SIGNING_KEYS: signingKeysOf(signingKey) }
  // Meanwhile nothing is written but what a caller asks for.
  app = await createTestApp(env, { lastUsedInterval: 24 * 60 * 60_000 })
})

afterAll(async () => {
  await app?.[Symbol.asyncDispose]()
})

interface Member {
  readonly title: string
  readonly of: Organisation
  readonly headers: SentHeaders
  readonly voice: Voice
}

function membersOf(of: Organisation): Member[] {
  const { tokens, supporter, customer, otherCustomer } = of
  const voices = {
    customer: { side: false, author: customer },
    otherCustomer: { side: false, author: otherCustomer },
    support: { side: true, author: supporter },
    customerElsewhere: { side: false, author: customer },
    supportElsewhere: { side: true, author: supporter },
  }
  return [
    ...rights.map((right) => ({
      title: `${right} key`,
      of,
      headers: bearer(of.keys[right].secret),
      voice: { side: true, author: of.supporter },
    })),
    ...(Object.keys(voices) as (keyof typeof voices)[]).map((name) => ({
      title: `${name} token`,
      of,
      headers: bearer(tokens[name]),
      voice: voices[name],
    })),
  ]
}

function readerOf({ author, side }: Voice) {
  return { readerId: author, readerSide: side }
}

describe('random operations of three organisations', () => {
  /** What one random call aims at. */
  interface Aim {
    readonly org: Organisation
    readonly roomId: string
    readonly messageId: string
    readonly keyId: string
    readonly word: string
    readonly flag: boolean
    readonly limit: number
    readonly paging: Record<string, unknown>
  }

  const inputs: Record<CallName, (aim: Aim, by: Member) => Record<string, unknown>> = {
    createRoom: ({ org, word, flag }, by) => ({
      orgId: org.id,
      // Its own name and not always the target's: a customer's token opens rooms for itself alone.
      userId: flag ? by.voice.author : org.customer,
      portfolioName: `${by.of.id} portfolio`,
      productName: `${by.of.id} ${word}`,
    }),
    getRoomById: ({ roomId }) => ({ roomId }),
    deleteRoom: ({ roomId, flag }) => ({ roomId, isActive: flag }),
    updateRoom: ({ roomId, word, flag }, by) => ({
      roomId,
      subject: flag ? `${by.of.id} about ${word}` : null,
      labels: [`${by.of.id} ${word}`],
      assignee: by.of.supporter,
      custom: { from: by.of.id },
    }),
    listRooms: ({ org, paging, word, flag }, { of, voice }) => ({
      orgId: org.id,
      ...paging,
      ...(flag ? { label: `${of.id} ${word}`, ...readerOf(voice) } : {}),
    }),
    createMessage: ({ roomId, word, flag }, by) => ({
      roomId,
      messageData: `${by.of.id} says ${word}`,
      ...by.voice,
      ...(flag ? { clientMessageId: `${word}-0123456789abcdef` } : {}),
    }),
    updateMessage: ({ roomId, messageId, word }, by) => ({
      roomId,
      messageId,
      messageData: `${by.of.id} writes ${word}`,
    }),
    deleteMessage: ({ roomId, messageId }) => ({ roomId, messageId }),
    getMessages: ({ roomId, paging }) => ({ roomId, ...paging }),
    getRoomSnapshot: ({ roomId }, { voice }) => ({ roomId, ...readerOf(voice) }),
    markRead: ({ roomId, limit }, { voice }) => ({ roomId, seq: limit, ...readerOf(voice) }),
    setTyping: ({ roomId, flag }, { voice: { author, side } }) => ({
      roomId,
      isTyping: flag,
      userId: author,
      side,
    }),
    createUserToken: ({ org, flag, roomId, word }, by) => ({
      orgId: org.id,
      userId: `${by.of.id} user`,
      side: flag,
      ...(word === 'a' ? { rooms: [roomId] } : {}),
    }),
    createStreamToken: () => ({}),
    createApiKey: ({ org, word }, by) => ({
      orgId: org.id,
      right: 'read',
      name: `${by.of.id} key ${word}`,
    }),
    listApiKeys: ({ org, paging }) => ({ orgId: org.id, ...paging }),
    revokeApiKey: ({ keyId }) => ({ keyId }),
    listEvents: ({ org, roomId, flag }) => ({ orgId: org.id, ...(flag ? { roomId } : {}) }),
    listAuditEvents: ({ org, paging: { around: _, ...paging } }) => ({ orgId: org.id, ...paging }),
    getOrganisation: ({ org }) => ({ orgId: org.id }),
    updateOrganisation: ({ org, word, flag }, by) => ({
      orgId: org.id,
      products: flag ? [`${by.of.id} ${word}`] : null,
    }),
  }

  const number = fc.nat({ max: 1000 })
  const operation = fc.record({
    actor: number,
    procedure: fc.constantFrom(...callNames),
    way: number,
    org: number,
    room: number,
    message: number,
    key: number,
    word: fc.constantFrom('a', 'b', 'c'),
    flag: fc.boolean(),
    paging: fc.oneof(
      fc.constant({ kind: 'newest' as const }),
      fc.record({
        kind: fc.constantFrom('before' as const, 'after' as const),
        boundary: fc.nat(9),
      }),
      fc.record({ kind: fc.constant('around' as const), row: number }),
    ),
    limit: fc.integer({ min: 1, max: 5 }),
  })
  type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never

  const tags: Partial<Record<CallName, string>> = {
    listRooms: 'r',
    getMessages: 'm',
    listApiKeys: 'k',
    listAuditEvents: 'a',
  }

  /** Every name by which a row can be known. */
  function idsIn(rows: Record<string, Rows>): string[] {
    return Object.values(rows)
      .flat()
      .flatMap(({ id, event_id: eventId }) => [id, eventId])
      .filter((id) => typeof id === 'string')
  }

  function pick<T>(from: readonly T[], index: number): T {
    return from[index % from.length] as T
  }

  function pagingOf(step: Operation, messageIds: readonly string[], roomIds: readonly string[]) {
    const { paging, limit, procedure } = step
    if (paging.kind === 'newest') return { limit }
    if (paging.kind === 'around') {
      const ids = procedure === 'getMessages' ? messageIds : roomIds
      return ids.length > 0 ? { limit, around: pick(ids, paging.row) } : { limit }
    }
    const cursor = Buffer.from(`${tags[procedure]}:${paging.boundary}`).toString('base64url')
    return { limit, [paging.kind]: cursor }
  }

  let tried = 0

  test('never show or touch a row of another organisation', async () => {
    await using database = await openDirectly(app)
    const seen = { own: 0, refused: 0 }
    const rowsOf = <T>(table: string, columns: string, orgs: readonly Organisation[]) =>
      database.ask(
        `select ${columns} from ${table} where org_id in (?, ?, ?) order by created_at, id`,
        ...orgs.map(({ id }) => id),
      ) as Promise<T[]>

    await fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 20, maxLength: 40 }), async (steps) => {
        // Names of this run and of no other, each of which is a marker in everything that is written.
        const run = ++tried
        const orgs: Organisation[] = []
        for (const letter of ['A', 'B', 'C']) {
          orgs.push(await createOrganisation(app, `marker-${letter}-${run}-`))
        }
        const members = orgs.flatMap(membersOf)
        for (const step of steps) {
          const by = pick(members, step.actor)
          const rooms = (await rowsOf<{ id: string }>('rooms', 'id', orgs)).map(({ id }) => id)
          const messages = await rowsOf<{ id: string; room_id: string }>(
            'messages',
            'id, room_id',
            orgs,
          )
          const message = pick(messages, step.message)
          const aim: Aim = {
            ...step,
            org: pick(orgs, step.org),
            // The message's own room and not always another, or hardly any message would be found.
            roomId: step.flag ? message.room_id : pick(rooms, step.room),
            messageId: message.id,
            // The reading keys too, so that some callers lose theirs on the way; the others stay.
            keyId: pick(
              orgs.flatMap(({ keyToRevoke, keys }) => [keyToRevoke, keys.read.id]),
              step.key,
            ),
            paging: pagingOf(
              step,
              messages.map(({ id }) => id),
              rooms,
            ),
          }
          const others = orgs.filter((org) => org !== by.of).map(({ id }) => id)
          const before = await database.dump(...others)
          const input = inputs[step.procedure](aim, by)
          const way = pick(waysOf(step.procedure), step.way)
          const reply = await way.call(app, input as never, by.headers)

          const told = `${by.title} of ${by.of.id}: ${way.title} ${JSON.stringify(input)}: ${reply.text}`
          // Its own key may have been revoked meanwhile; whatever else happens, nothing breaks.
          expect([200, 201, 400, 401, 403, 404, 409], told).toContain(reply.status)
          seen[reply.status < 300 ? 'own' : 'refused']++
          const answer = reply.text + JSON.stringify(reply.headers)
          // No answer repeats its request, so that a foreign name or id can only come from a row. The organisation's own
          // name is a part of everything that is written for it.
          const foreign = [...others, ...idsIn(before)]
          expect(
            foreign.filter((name) => answer.includes(name)),
            told,
          ).toEqual([])
          expect(await database.dump(...others), told).toEqual(before)
        }
      }),
      // Told as it was found: to look for a shorter case takes longer than a test may, and hides what was found.
      { numRuns: runs(10, 5), endOnFailure: true },
    )
    // Neither an empty answer to everything nor one to nothing would have shown anything. (Runs have shown 29 to 43.)
    expect(seen.own).toBeGreaterThan(10)
    expect(seen.refused).toBeGreaterThan(10)
  })
})

describe('a row that is not the caller’s is a row that is not there', () => {
  const nothing = 'f'.repeat(24)
  const cursor = (tag: string) => Buffer.from(`${tag}:1`).toString('base64url')

  let org: Organisation
  let foreign: Organisation
  let foreignMessage: string
  let elsewhereMessage: string
  let deletedRoom: string
  let deletedElsewhere: string

  beforeAll(async () => {
    org = await createOrganisation(app, 'OWN')
    foreign = await createOrganisation(app, 'OTHER')
    const write = async (of: Organisation) => {
      const admin = as(app, of.keys.admin.secret)
      const { message } = await admin.createMessage({
        roomId: of.otherCustomersRoom,
        messageData: 'hello',
        side: true,
        author: 'a',
        clientMessageId: 'sent-before-0123456789',
      })
      const identity = { orgId: of.id, userId: of.otherCustomer, portfolioName: 'p' }
      const { room } = await admin.createRoom({ ...identity, productName: 'DELETED' })
      await admin.deleteRoom({ roomId: room.id })
      return [message.id, room.id] as const
    }
    ;[foreignMessage, deletedRoom] = await write(foreign)
    ;[elsewhereMessage, deletedElsewhere] = await write(org)
  })

  type Ids = { org: string; room: string; message: string; key: string }

  /** Every input in which a procedure takes the name of a row, in all its variants. */
  const variants: Record<CallName, (ids: Ids, voice: Voice) => Record<string, unknown>[]> = {
    createRoom: ({ org }, { author }) => [
      { orgId: org, userId: author, portfolioName: 'p', productName: 'q' },
    ],
    getRoomById: ({ room }) => [{ roomId: room }],
    deleteRoom: ({ room }) => [{ roomId: room }, { roomId: room, isActive: true }],
    updateRoom: ({ room }) => [{ roomId: room }, { roomId: room, subject: 'x', labels: ['x'] }],
    listRooms: ({ org }) => [
      { orgId: org },
      { orgId: org, productName: 'WIFIQRCODE' },
      { orgId: org, readerId: 'anyone', readerSide: true },
      { orgId: org, after: cursor('r'), limit: 1 },
    ],
    createMessage: ({ room }, voice) => [
      { roomId: room, messageData: 'x', ...voice },
      { roomId: room, messageData: 'x', ...voice, clientMessageId: 'sent-before-0123456789' },
    ],
    updateMessage: ({ room, message }) => [{ roomId: room, messageId: message, messageData: 'x' }],
    deleteMessage: ({ room, message }) => [{ roomId: room, messageId: message }],
    getMessages: ({ room, message }) => [
      { roomId: room },
      { roomId: room, before: cursor('m') },
      { roomId: room, around: message },
    ],
    getRoomSnapshot: ({ room }, voice) => [{ roomId: room, ...readerOf(voice) }],
    markRead: ({ room }, voice) => [{ roomId: room, seq: 1, ...readerOf(voice) }],
    setTyping: ({ room }, { author, side }) => [
      { roomId: room, isTyping: true, userId: author, side },
      { roomId: room, isTyping: false, userId: author, side },
    ],
    createUserToken: ({ org, room }) => [
      { orgId: org, userId: 'a', side: true },
      { orgId: org, userId: 'a', side: true, rooms: [room] },
    ],
    createStreamToken: () => [],
    createApiKey: ({ org }) => [{ orgId: org, right: 'admin' }],
    listApiKeys: ({ org, key }) => [
      { orgId: org },
      { orgId: org, around: key },
      { orgId: org, before: cursor('k') },
    ],
    revokeApiKey: ({ key }) => [{ keyId: key }],
    listEvents: ({ org, room }) => [{ orgId: org }, { orgId: org, roomId: room }],
    listAuditEvents: ({ org }) => [{ orgId: org }, { orgId: org, after: cursor('a') }],
    getOrganisation: ({ org }) => [{ orgId: org }],
    updateOrganisation: ({ org }) => [{ orgId: org }, { orgId: org, products: ['p'] }],
  }

  /** Rows that are named inside of the caller's own: they make a page start elsewhere, or a token good for less. */
  const inOwn: Partial<Record<CallName, (ids: Ids) => Record<string, unknown>[]>> = {
    listRooms: ({ room }) => [{ orgId: org.id, around: room }],
    updateMessage: ({ message }) => [
      { roomId: org.elsewhere, messageId: message, messageData: 'x' },
    ],
    deleteMessage: ({ message }) => [{ roomId: org.elsewhere, messageId: message }],
    getMessages: ({ message }) => [{ roomId: org.elsewhere, around: message }],
    listApiKeys: ({ key }) => [{ orgId: org.id, around: key }],
    listEvents: ({ room }) => [{ orgId: org.id, roomId: room }],
  }

  /** What names a room can name one of the caller's own organisation. */
  const takesRoom: readonly CallName[] = [
    'getRoomById',
    'deleteRoom',
    'updateRoom',
    'createMessage',
    'updateMessage',
    'deleteMessage',
    'getMessages',
    'getRoomSnapshot',
    'markRead',
    'setTyping',
  ]

  /** An answer without what differs between any two answers. */
  function comparable({ status, httpStatus, text, headers }: Reply) {
    const { 'x-request-id': requestId, date: _, ...rest } = headers
    return { status, httpStatus, headers: rest, text: text.replaceAll(String(requestId), 'id') }
  }

  test.each(callNames)('%s', async (procedure) => {
    using statements = captureStatements(app)
    const none: Ids = { org: 'NEVER', room: nothing, message: nothing, key: nothing }
    const theirs: Ids = {
      org: foreign.id,
      room: foreign.otherCustomersRoom,
      message: foreignMessage,
      key: foreign.keyToRevoke,
    }
    const elsewhere: Ids = { ...none, room: org.otherCustomersRoom, message: elsewhereMessage }
    await using database = await openDirectly(app)
    const before = await database.dump(org.id, foreign.id)

    for (const way of waysOf(procedure)) {
      const ask = async (by: Member, input: Record<string, unknown>) => {
        statements.take()
        const reply = await way.call(app, input as never, by.headers)
        return { reply, told: comparable(reply), statements: statements.take() }
      }
      // v2 ignores keys that it does not know, and `around` is one.
      const own = (way.surface !== 'v2' && inOwn[procedure]) || (() => [])
      const named = takesRoom.includes(procedure) ? variants[procedure] : () => []
      /** Inputs that must look the same to this member: those that name rows that are there, and those that do not. */
      const pairsFor = ({ title, voice }: Member) => {
        const foreignPairs = [theirs, { ...theirs, room: deletedRoom }].map((ids) => ({
          there: [...variants[procedure](ids, voice), ...own(ids)],
          missing: [...variants[procedure](none, voice), ...own(none)],
        }))
        // What is not a customer's, or not in the list of rooms that a token is limited to, is no different.
        const isNarrow = title.includes('lsewhere') || title === 'customer token'
        const narrowPairs = [elsewhere, { ...elsewhere, room: deletedElsewhere }].map((ids) => ({
          there: [...named(ids, voice), ...own(ids)],
          missing: [...named(none, voice), ...own(none)],
        }))
        return isNarrow ? [...foreignPairs, ...narrowPairs] : foreignPairs
      }
      for (const by of membersOf(org)) {
        for (const { there, missing } of pairsFor(by)) {
          for (const [index, input] of there.entries()) {
            const real = await ask(by, input)
            const unreal = await ask(by, missing[index] as Record<string, unknown>)
            const told = `${by.title}: ${way.title} ${JSON.stringify(input)}`
            // What is chosen from the caller's own rows by what is not there is nothing.
            const showsNothing = /"items":\[\]/.test(real.reply.text)
            expect([400, 403, 404], told).toContain(showsNothing ? 404 : real.reply.status)
            expect(real.told, told).toEqual(unreal.told)
            // The same work, so that no clock tells them apart. Finding the caller alone is a statement.
            expect(real.statements, told).toEqual(unreal.statements)
            expect(real.statements.length, told).toBeGreaterThan(0)
          }
        }
      }
    }
    expect(await database.dump(org.id, foreign.id)).toEqual(before)
  })

  test('statements are really noted', async () => {
    using statements = captureStatements(app)
    await as(app, org.keys.admin.secret).getRoomById({ roomId: org.room })
    expect(statements.take()).toEqual([
      expect.stringMatching(/from "api_keys"/),
      expect.stringMatching(/from "rooms"/),
    ])
  })
})

test('a caller does not use up the budget of one whose name reads the same', async () => {
  await using app = await createTestApp({ ...unlimited, RATE_LIMIT_ACTOR: '100' })
  // Both were "user:a@b@c" once, and the two sides of one name are two people as well.
  const [first, second] = [await createOrganisation(app, 'b@c'), await createOrganisation(app, 'c')]
  const mint = async (of: Organisation, userId: string, side: boolean) => {
    const admin = as(app, of.keys.support.secret)
    return (await admin.createUserToken({ orgId: of.id, userId, side })).token
  }
  const spender = as(app, await mint(first, 'a', false))
  const namesakes = [await mint(second, 'a@b', false), await mint(first, 'a', true)]
  const spend = () => spender.listRooms({ orgId: first.id })
  await Promise.all(Array.from({ length: 100 }, spend))
  await expect(spend()).rejects.toMatchObject({ code: 'TOO_MANY_REQUESTS' })
  await as(app, namesakes[0]).listRooms({ orgId: second.id })
  await as(app, namesakes[1]).listRooms({ orgId: first.id })
})
