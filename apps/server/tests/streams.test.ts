import { createTestStore } from '@dowell-chat/db/testing'
import { describe, expect, test } from 'vitest'
import { EventReader, type Told, trpcPath } from './eventReader.ts'
import { startServer } from './serverProcess.ts'
import { createTestApp, json, openRoom, type TestApp } from './support.ts'

const ORG = 'DOWELL12345'
const inbox = `/api/v3/events?orgId=${ORG}`

async function say(app: { url: string }, roomId: string, text: string): Promise<void> {
  const body = { messageData: text, side: false, author: 'ABCD12345' }
  const answer = await fetch(`${app.url}/api/v3/rooms/${roomId}/messages`, json(body))
  expect(answer.status).toBe(201)
}

function textsOf(events: Told[]): string[] {
  return events.flatMap(({ message }) => (message ? [message.messageData] : []))
}

describe('as plain server-sent events', () => {
  test('a room, an inbox and a user hear what concerns them, as it happens', async () => {
    await using app = await createTestApp()
    const [room, other] = [await openRoom(app, 'Ötzi / 1'), await openRoom(app, 'other')]
    const paths = {
      room: `/api/v3/rooms/${room}/events`,
      inbox,
      product: `${inbox}&productName=ELSEWHERE`,
      some: `${inbox}&roomIds=${other},${'f'.repeat(24)}`,
      user: `/api/v3/users/${encodeURIComponent('Ötzi / 1')}/events?orgId=${ORG}`,
    }
    const heard: Record<string, string[]> = {}
    const readers: EventReader[] = []
    for (const path of Object.values(paths)) {
      const reader = await EventReader.open(app, path)
      expect(reader.status).toBe(200)
      expect(await reader.next()).toMatchObject({ type: 'ready', cursor: expect.any(String) })
      readers.push(reader)
    }
    const witness = await EventReader.open(app, inbox)
    await say(app, room, 'one')
    await say(app, other, 'two')
    await say(app, room, 'three')
    // All streams of an organisation are given an event in one go.
    while ((await witness.next()).message?.messageData !== 'three');
    await app.close()
    for (const [index, name] of Object.keys(paths).entries()) {
      const events = (await readers[index]?.rest()) as Told[]
      expect(events.at(-1)).toEqual({ type: 'end', reason: 'shutdown' })
      heard[name] = textsOf(events)
    }
    expect(heard).toEqual({
      room: ['one', 'three'],
      inbox: ['one', 'two', 'three'],
      product: [],
      some: ['two'],
      user: ['one', 'three'],
    })
  })

  test('an event is one frame: its cursor as id, one line of data, no name', async () => {
    // No heartbeat comes between.
    await using app = await createTestApp({}, { streamHeartbeat: 24 * 60 * 60_000 })
    const room = await openRoom(app)
    await using reader = await EventReader.open(app, `/api/v3/rooms/${room}/events`)
    expect(reader.response.headers).toMatchObject({
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
      'x-content-type-options': 'nosniff',
      connection: 'close',
    })
    expect(await reader.frame()).toEqual({ retry: '2000' })
    for (const type of ['ready', 'presence', 'message.created']) {
      const { data = '', ...frame } = (await reader.frame()) ?? {}
      const told = JSON.parse(data)
      expect(told.type).toBe(type)
      // Only what is in the log can be resumed from.
      expect(frame).toEqual(told.cursor === undefined ? {} : { id: told.cursor })
      if (type === 'presence') await say(app, room, 'two\nlines\r\nand \u2028 more')
    }
  })

  test('an idle stream gives signs of life that leave the id alone', async () => {
    await using app = await createTestApp({}, { streamHeartbeat: 20 })
    await using reader = await EventReader.open(app, inbox)
    await using subscription = await EventReader.open(
      app,
      trpcPath('onInboxEvents', { orgId: ORG }),
    )
    const beats = [
      [reader, { data: '{"type":"heartbeat"}' }],
      [subscription, { event: 'ping', data: '' }],
    ] as const
    for (const [stream, beat] of beats) {
      let seen = 0
      while (seen < 3) {
        const frame = await stream.frame()
        if (JSON.stringify(frame) === JSON.stringify(beat)) seen++
        else expect(frame?.data ?? '').not.toContain('heartbeat')
      }
    }
  })

  test('what cannot be heard is told as JSON before the stream begins', async () => {
    await using app = await createTestApp({ AUTH: 'open' })
    const room = await openRoom(app)
    const none = 'f'.repeat(24)
    const failures: [string, number, object][] = [
      ['/api/v3/rooms/x/events', 400, { errors: { roomId: expect.anything() } }],
      [`/api/v3/rooms/${none}/events`, 404, { code: 'NOT_FOUND' }],
      [
        `/api/v3/rooms/${room}/events?roomId=${room}`,
        400,
        { errors: { roomId: expect.anything() } },
      ],
      [`/api/v3/rooms/${room}/events?side=perhaps`, 400, { errors: { side: expect.anything() } }],
      [`/api/v3/rooms/${room}/events?colour=red`, 400, { errors: { colour: expect.anything() } }],
      [`/api/v3/rooms/${room}/events?__proto__=1`, 400, { code: 'BAD_REQUEST' }],
      ['/api/v3/events', 400, { errors: { orgId: ['is required'] } }],
      [`${inbox}&roomIds=a`, 400, { errors: { 'roomIds.0': expect.anything() } }],
      ['/api/v3/users/%ff/events?orgId=a', 400, { code: 'PARSE_ERROR' }],
      [`${inbox}&after=%ff`, 400, { code: 'PARSE_ERROR' }],
      [`${inbox}&after=${'x'.repeat(9000)}`, 414, { code: 'URI_TOO_LONG' }],
      ['/api/v3/users//events?orgId=a', 404, { code: 'NOT_FOUND' }],
    ]
    for (const [path, status, body] of failures) {
      const answer = await app.fetch(path)
      expect(answer.status, path).toBe(status)
      expect(answer.headers.get('content-type'), path).toMatch(/^application\/json/)
      expect(await answer.json(), path).toMatchObject(body)
    }
    const withBody = await app.fetch(`/api/v3/rooms/${room}/events`, json({}))
    expect([withBody.status, withBody.headers.get('allow')]).toEqual([405, 'GET, HEAD, OPTIONS'])
    const options = await app.fetch(inbox, { method: 'OPTIONS' })
    expect([options.status, options.headers.get('allow')]).toEqual([204, 'GET, HEAD, OPTIONS'])
  })

  test('HEAD asks whether there is a stream, and opens none', async () => {
    await using app = await createTestApp({ STREAMS_MAX: '1' })
    for (let number = 0; number < 3; number++) {
      const answer = await app.fetch(inbox, { method: 'HEAD' })
      expect([answer.status, answer.headers.get('content-type')]).toEqual([
        200,
        'text/event-stream',
      ])
    }
    const missing = await app.fetch('/api/v3/rooms/x/events', { method: 'HEAD' })
    expect(missing.status).toBe(400)
  })

  test('pages of allowed origins may listen', async () => {
    await using app = await createTestApp({ AUTH: 'open', CORS_ORIGINS: 'https://a.example' })
    await using reader = await EventReader.open(app, inbox, { origin: 'https://a.example' })
    expect(reader.response.headers).toMatchObject({
      'access-control-allow-origin': 'https://a.example',
      vary: 'Origin',
    })
    await using foreign = await EventReader.open(app, inbox, { origin: 'https://b.example' })
    expect(foreign.status).toBe(403)
  })

  test('a stream is one line of the log, at its end, without its query', async () => {
    await using app = await createTestApp()
    const reader = await EventReader.open(app, `${inbox}&after=secret-in-a-query`)
    await reader.nextOf('ready')
    reader.close()
    const left = await EventReader.open(app, inbox)
    await left.nextOf('ready')
    await app.close()
    const lines = app.log.filter(({ streamEnd }) => streamEnd !== undefined)
    expect(lines).toEqual([
      expect.objectContaining({ streamEnd: 'client_left', responseTime: expect.any(Number) }),
      expect.objectContaining({ streamEnd: 'shutdown', res: { status: 200 } }),
    ])
    expect(JSON.stringify(app.log)).not.toContain('secret')
  })
})

describe('a reader that comes again', () => {
  test('goes on after its cursor, over a kill of the server', async () => {
    await using store = await createTestStore()
    const env = { DATABASE_URL: store.url }
    await using first = await startServer(env)
    const room = await openRoom(as1(first))
    const path = `/api/v3/rooms/${room}/events`
    const reader = await EventReader.open(first, path)
    const ready = await reader.nextOf('ready')
    for (const text of ['one', 'two', 'three']) await say(first, room, text)
    const one = await reader.nextOf('message.created')
    await first.kill('SIGKILL')

    await using second = await startServer(env)
    await say(second, room, 'four')
    for (const [cursor, texts] of [
      [ready.cursor, ['one', 'two', 'three', 'four']],
      [one.cursor, ['two', 'three', 'four']],
    ] as const) {
      for (const [more, headers] of [
        ['', { 'last-event-id': cursor }],
        [`?after=${cursor}`, {}],
        [`?lastEventId=${cursor}`, {}],
        [`?after=${ready.cursor}`, { 'last-event-id': cursor }],
      ] as [string, Record<string, string>][]) {
        await using again = await EventReader.open(second, path + more, headers)
        const heard: Told[] = []
        let told = await again.next()
        for (; told.type !== 'ready'; told = await again.next()) heard.push(told)
        expect(textsOf(heard)).toEqual(texts)
        expect(heard.map(({ type }) => type)).toEqual(texts.map(() => 'message.created'))
      }
    }
  })

  test('with a cursor of somebody else, of the future or of nobody is told to read anew', async () => {
    await using app = await createTestApp()
    const room = await openRoom(app)
    const foreign = await openRoom(app, 'a', 'FOREIGN')
    await say(app, foreign, 'foreign secret')
    await using theirs = await EventReader.open(app, '/api/v3/events?orgId=FOREIGN')
    const { cursor } = await theirs.nextOf('ready')
    const own = (await (await app.fetch(`/api/v3/event-log?orgId=${ORG}`)).json()) as Told
    const tag = Buffer.from(own.after, 'base64url').toString().split(':')[2]
    const future = Buffer.from(`e:999:${tag}`).toString('base64url')
    for (const bad of [cursor, future, 'garbage', 'ZToxOg', '0']) {
      await using reader = await EventReader.open(app, inbox, { 'last-event-id': bad })
      const reset = await reader.next()
      expect(reset).toMatchObject({ type: 'reset', reason: 'unknown' })
      expect((await reader.next()).type).toBe('ready')
      await say(app, room, 'after')
      expect(textsOf([await reader.next()])).toEqual(['after'])
      // What it is told to go on from, it can go on from.
      await using again = await EventReader.open(app, inbox, { 'last-event-id': reset.cursor })
      expect(textsOf([await again.next()])).toEqual(['after'])
    }
  })
})

function as1(app: { url: string }): TestApp {
  return {
    ...app,
    fetch: (path: string, init?: RequestInit) => fetch(`${app.url}${path}`, init),
  } as TestApp
}
