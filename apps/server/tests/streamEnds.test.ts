import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import {
  as,
  bearer,
  createKey,
  createOperator,
  createOrganisation,
  unlimited,
} from './credentials.ts'
import { EventReader, type Told, trpcPath } from './eventReader.ts'
import { parseRaw, raw } from './http.ts'
import { createTestApp, json, openRoom, type TestApp } from './support.ts'

const ORG = 'DOWELL12345'
const inbox = `/api/v3/events?orgId=${ORG}`

describe('a stream ends', () => {
  test('before it begins, when its request was answered meanwhile', async () => {
    await using app = await createTestApp({ STREAMS_MAX: '2' })
    const path = trpcPath('onInboxEvents', { orgId: ORG })
    const broken = `GET ${path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nno length\r\n`
    for (let times = 0; times < 4; times++) {
      expect(parseRaw(await raw(app, broken)).status).toBe(400)
    }
    await until(async () => {
      await using reader = await EventReader.open(app, inbox)
      return reader.status === 200
    })
  })

  test('with the key that opened it, or asked for the token that did, and no other does', async () => {
    await using app = await createTestApp(unlimited)
    const { keys, tokens } = await createOrganisation(app, ORG)
    await using operator = createOperator(app)
    const open = (credential: string) => EventReader.open(app, inbox, bearer(credential))
    const streamToken = await as(app, tokens.customer).createStreamToken({})
    const dying = [
      await open(keys.admin.secret),
      await open(tokens.support),
      await EventReader.open(app, `${inbox}&streamToken=${streamToken.token}`),
    ]
    await using living = await open(keys.read.secret)
    for (const reader of [...dying, living]) await reader.nextOf('ready')
    await operator.call.revokeApiKey({ keyId: keys.admin.id })
    for (const reader of dying) {
      expect(await reader.nextOf('end')).toEqual({ type: 'end', reason: 'revoked' })
      expect(await reader.next()).toBeUndefined()
    }
    await as(app, keys.support.secret).createMessage({
      roomId: (await operator.call.listRooms({ orgId: ORG })).items[0]?.id as string,
      messageData: 'still here',
      side: true,
      author: 'a',
    })
    expect(await living.next()).toMatchObject({ message: { messageData: 'still here' } })
  })

  test('with the user token that opened it, though a stream token of it was to live on', async () => {
    let now = Date.now()
    await using app = await createTestApp(unlimited, { clock: () => now })
    const { keys, customer } = await createOrganisation(app, ORG)
    const { token } = await as(app, keys.admin.secret).createUserToken({
      orgId: ORG,
      userId: customer,
      side: false,
      expiresIn: 900,
    })
    const streamToken = await as(app, token).createStreamToken({})
    await using byToken = await EventReader.open(app, inbox, bearer(token))
    const streamPath = `${inbox}&streamToken=${streamToken.token}`
    await using byStreamToken = await EventReader.open(app, streamPath)
    await using byKey = await EventReader.open(app, inbox, bearer(keys.read.secret))
    for (const reader of [byToken, byStreamToken, byKey]) await reader.nextOf('ready')
    // The stream token is over, what it opened is not.
    now += 11 * 60_000
    await sleep(1_100)
    expect((await EventReader.open(app, streamPath)).status).toBe(401)
    expect(byStreamToken.isOpen).toBe(true)
    // With the minute that a token lives on for clocks that differ.
    now += 5 * 60_000
    for (const reader of [byToken, byStreamToken]) {
      expect(await reader.nextOf('end')).toEqual({ type: 'end', reason: 'expired' })
      expect(await reader.next()).toBeUndefined()
    }
    expect((await EventReader.open(app, inbox, bearer(token))).status).toBe(401)
    expect(byKey.isOpen).toBe(true)
  })

  test('when it has lived long enough, and goes on where it was', async () => {
    await using app = await createTestApp({}, { streamLifetime: 500 })
    const room = await openRoom(app)
    await using reader = await EventReader.open(app, inbox)
    const { cursor } = await reader.nextOf('ready')
    expect(await reader.rest()).toEqual([{ type: 'end', reason: 'lifetime' }])
    await say(app, room, 'meanwhile')
    await using again = await EventReader.open(app, inbox, { 'last-event-id': cursor })
    expect(await again.next()).toMatchObject({ message: { messageData: 'meanwhile' } })
  })

  test('with open mode, which the first key ends', async () => {
    await using app = await createTestApp()
    const { token } = await as(app).createStreamToken({})
    await using reader = await EventReader.open(app, inbox)
    const path = `/api/v3/events?orgId=ANOTHER&streamToken=${token}`
    await using byStreamToken = await EventReader.open(app, path)
    for (const each of [reader, byStreamToken]) await each.nextOf('ready')
    await createKey(app)
    for (const each of [reader, byStreamToken]) {
      expect(await each.rest()).toEqual([{ type: 'end', reason: 'revoked' }])
    }
    expect((await EventReader.open(app, path)).status).toBe(401)
  })

  test('not with its room: that says so, and so does the one that is deleted already', async () => {
    await using app = await createTestApp()
    const room = await openRoom(app)
    const path = `/api/v3/rooms/${room}/events`
    await using reader = await EventReader.open(app, path)
    await reader.nextOf('ready')
    await as(app).deleteRoom({ roomId: room })
    expect(await reader.nextOf('room.deleted')).toMatchObject({
      room: { id: room, isActive: false },
    })
    await using later = await EventReader.open(app, path)
    await later.nextOf('ready')
    await as(app).deleteRoom({ roomId: room, isActive: true })
    for (const each of [reader, later]) {
      expect(await each.nextOf('room.restored')).toMatchObject({ room: { isActive: true } })
    }
  })

  test('when the log cannot be read, and says so in ours', async () => {
    await using app = await createTestApp()
    await using operator = createOperator(app)
    await openRoom(app)
    await operator.deps.db.migrateTo('005-organisation-settings')
    const reader = await EventReader.open(app, inbox).catch(() => undefined)
    expect((await reader?.rest()) ?? []).toEqual([])
    await until(() => app.log.some(({ level, msg }) => level === 50 && msg === 'failed'))
  })
})

describe('there are not too many streams', () => {
  test('of one key or user, whatever stands for them', async () => {
    await using app = await createTestApp({ ...unlimited, STREAMS_PER_CUSTOMER: '2' })
    const { tokens } = await createOrganisation(app, ORG)
    const { token } = await as(app, tokens.customer).createStreamToken({})
    const held = [
      await EventReader.open(app, inbox, bearer(tokens.customer)),
      await EventReader.open(app, `${inbox}&streamToken=${token}`),
    ]
    const refused = await app.fetch(inbox, { headers: bearer(tokens.customer) })
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '10'])
    expect(await refused.json()).toMatchObject({ code: 'TOO_MANY_REQUESTS' })
    const input = trpcPath('onInboxEvents', { orgId: ORG })
    await using subscription = await EventReader.open(app, `${input}&streamToken=${token}`)
    const frames = []
    for (let frame = await subscription.frame(); frame; frame = await subscription.frame()) {
      frames.push(frame)
    }
    // It says when to come again, as far as an EventSource listens.
    expect(frames).toContainEqual({ retry: '10000' })
    expect(frames.at(-1)?.data).toContain('"httpStatus":429')
    // Somebody else has their own.
    await using other = await EventReader.open(app, inbox, bearer(tokens.otherCustomer))
    expect(other.status).toBe(200)
    // Who leaves makes room.
    held[0]?.close()
    await until(async () => {
      await using again = await EventReader.open(app, inbox, bearer(tokens.customer))
      return again.status === 200
    })
    held[1]?.close()
  })

  test('of the whole process', async () => {
    await using app = await createTestApp({ STREAMS_MAX: '3' })
    const held = await Promise.all([1, 2, 3].map(() => EventReader.open(app, inbox)))
    const refused = await app.fetch(inbox)
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '10'])
    for (const reader of held) reader.close()
    await until(async () => {
      await using again = await EventReader.open(app, inbox)
      return again.status === 200
    })
  })
})

describe('a reader that takes', () => {
  const long = 'x'.repeat(15_990)

  /** Messages of 16,000 characters: a few hundred fill what the system keeps for a connection. */
  async function sayAll(app: TestApp, room: string, count: number): Promise<void> {
    await using operator = createOperator(app)
    for (let number = 0; number < count; number += 50) {
      await Promise.all(
        Array.from({ length: 50 }, (_, index) =>
          operator.call.createMessage({
            roomId: room,
            messageData: `${number + index} ${long}`,
            side: true,
            author: 'a',
          }),
        ),
      )
    }
  }

  const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1)

  test('nothing is cut, and misses nothing when it comes again', async () => {
    await using app = await createTestApp({}, { streamStallTimeout: 300 })
    const room = await openRoom(app)
    const path = `/api/v3/rooms/${room}/events`
    await using reader = await EventReader.open(app, path)
    const { cursor } = await reader.nextOf('ready')
    reader.response.pause()
    await sayAll(app, room, 800)
    await until(() => app.log.some(({ streamEnd }) => streamEnd === 'slow_reader'))
    expect(app.log.find(({ streamEnd }) => streamEnd !== undefined)).toMatchObject({ level: 40 })
    reader.response.resume()
    const heard = seqsOf(await reader.rest())
    expect(heard).toEqual(upTo(heard.length))
    expect(heard.length).toBeLessThan(800)
    await using again = await EventReader.open(app, path, { 'last-event-id': cursor })
    const replayed: Told[] = []
    while (replayed.length < 800) replayed.push(await again.nextOf('message.created'))
    expect(seqsOf(replayed)).toEqual(upTo(800))
  })

  test('nothing costs no more, however much passes it', async () => {
    await using app = await createTestApp({}, { streamStallTimeout: 60_000 })
    const room = await openRoom(app)
    await using reader = await EventReader.open(app, `/api/v3/rooms/${room}/events`)
    await reader.nextOf('ready')
    reader.response.pause()
    // More than the system keeps for a connection.
    await sayAll(app, room, 1_000)
    const before = await usedMemory()
    await sayAll(app, room, 3_000)
    // 48 MB passed; of those a page of events may wait, here and in a driver.
    expect((await usedMemory()) - before).toBeLessThan(16_000_000)
  })

  test('slowly gets everything once', async () => {
    await using app = await createTestApp({}, { streamStallTimeout: 5_000 })
    const room = await openRoom(app)
    await using reader = await EventReader.open(app, `/api/v3/rooms/${room}/events`)
    await reader.nextOf('ready')
    const { response } = reader
    let parts = 0
    response.on('data', () => {
      if (++parts % 20 > 0) return
      response.pause()
      setTimeout(() => response.resume(), 10)
    })
    await sayAll(app, room, 800)
    const heard: Told[] = []
    while (heard.length < 800) heard.push(await reader.nextOf('message.created'))
    expect(seqsOf(heard)).toEqual(upTo(800))
  })
})

/** What is left after collections, in bytes. One is not enough: what lies outside the heap is freed a while after it. */
async function usedMemory(): Promise<number> {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc')
  let least = Number.POSITIVE_INFINITY
  for (let round = 0; round < 5; round++) {
    collect()
    const { heapUsed, external } = process.memoryUsage()
    least = Math.min(least, heapUsed + external)
    await sleep(50)
  }
  return least
}

function seqsOf(events: Told[]): number[] {
  return events.flatMap(({ message }) => (message ? [message.seq] : []))
}

async function say(app: TestApp, roomId: string, text: string): Promise<void> {
  const body = { messageData: text, side: false, author: 'ABCD12345' }
  const answer = await app.fetch(`/api/v3/rooms/${roomId}/messages`, json(body))
  expect(answer.status).toBe(201)
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(20)
}
