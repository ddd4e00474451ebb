import { setTimeout as sleep } from 'node:timers/promises'
import type { AppRouter, Inputs, StreamName } from '@dowell-chat/api'
import { createTestStore } from '@dowell-chat/db/testing'
import { createTRPCClient, httpSubscriptionLink, type TRPCClientError } from '@trpc/client'
import { EventSource } from 'eventsource'
import superjson from 'superjson'
import { describe, expect, test } from 'vitest'
import { bearer, createOperator } from './credentials.ts'
import { EventReader, type Told, trpcPath } from './eventReader.ts'
import { createTestApp, json, openRoom, type TestApp } from './support.ts'

const ORG = 'DOWELL12345'

/** What tRPC's own client makes of a subscription. */
class Subscription implements Disposable {
  readonly events: Told[] = []
  readonly states: { state: string; error: TRPCClientError<AppRouter> | null }[] = []
  /** Resolves with the error, or with nothing when the server has ended it. */
  readonly done: Promise<TRPCClientError<AppRouter> | undefined>
  readonly #stop: () => void
  #wake: () => void = () => undefined

  constructor(
    { url }: { url: string },
    name: StreamName,
    input: Inputs[StreamName],
    credential?: string,
  ) {
    const headers = credential === undefined ? {} : bearer(credential)
    const client = createTRPCClient<AppRouter>({
      links: [
        httpSubscriptionLink({
          url: `${url}/trpc`,
          transformer: superjson,
          EventSource,
          eventSourceOptions: {
            fetch: (to, init) => fetch(to, { ...init, headers: { ...init.headers, ...headers } }),
          },
        }),
      ],
    })
    const { promise, resolve } = Promise.withResolvers<TRPCClientError<AppRouter> | undefined>()
    this.done = promise
    // One of the three: what their callbacks get differs by what typescript can say of the events only.
    const { subscribe } = client[name] as typeof client.onRoomEvents
    const { unsubscribe } = subscribe(input as Inputs['onRoomEvents'], {
      onData: (event) => {
        this.events.push(event)
        this.#wake()
      },
      onConnectionStateChange: ({ state, error }) => {
        this.states.push({ state, error })
        this.#wake()
      },
      onError: resolve,
      onComplete: () => resolve(undefined),
    })
    this.#stop = unsubscribe
  }

  async until(holds: (self: this) => boolean): Promise<void> {
    while (!holds(this)) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  [Symbol.dispose](): void {
    this.#stop()
  }
}

function texts({ events }: Subscription): string[] {
  return events.flatMap(({ data }) => (data?.message ? [data.message.messageData] : []))
}

async function say(app: TestApp, roomId: string, text: string, headers = {}): Promise<void> {
  const init = json({ messageData: text, side: false, author: 'a' })
  const answer = await app.fetch(`/api/v3/rooms/${roomId}/messages`, {
    ...init,
    headers: { ...init.headers, ...headers },
  })
  expect(answer.status).toBe(201)
}

describe('with tRPC’s own client, a subscription', () => {
  test('brings events with their ids and real Dates, and what is not logged without an id', async () => {
    await using app = await createTestApp()
    const roomId = await openRoom(app)
    using room = new Subscription(app, 'onRoomEvents', { roomId, side: true })
    await room.until(({ events }) => events.length === 2)
    await say(app, roomId, 'hello')
    await room.until(({ events }) => events.length === 3)
    const [ready, presence, message] = room.events
    expect(ready).toMatchObject({ data: { type: 'ready' }, id: ready.data.cursor })
    expect(presence).toEqual({
      type: 'presence',
      orgId: ORG,
      roomId,
      customer: false,
      support: true,
    })
    expect(message).toMatchObject({
      data: { type: 'message.created', message: { messageData: 'hello' } },
      id: message.data.cursor,
    })
    expect(message.data.createdAt).toBeInstanceOf(Date)
    expect(message.data.message.createdAt).toBeInstanceOf(Date)
    expect(room.states.map(({ state }) => state)).toEqual(['connecting', 'pending'])
  })

  test('goes on by itself when the server comes again, without a gap and without a repetition', async () => {
    await using store = await createTestStore()
    const env = { DATABASE_URL: store.url }
    await using first = await createTestApp(env)
    const { port } = new URL(first.url)
    const roomId = await openRoom(first)
    using room = new Subscription(first, 'onRoomEvents', { roomId })
    using inbox = new Subscription(first, 'onInboxEvents', { orgId: ORG })
    const both = [room, inbox]
    for (const one of both) await one.until(({ events }) => events.length > 0)
    await say(first, roomId, 'one')
    for (const one of both) await one.until((it) => texts(it).includes('one'))
    await first.close()
    for (const one of both) await one.until(({ states }) => states.length > 2)
    for (const { events } of both)
      expect(events.at(-1)).toEqual({ type: 'end', reason: 'shutdown' })

    await using second = await createTestApp({ ...env, PORT: port })
    for (const text of ['two', 'three']) await say(second, roomId, text)
    for (const one of both) await one.until((it) => texts(it).includes('three'))
    await say(second, roomId, 'four')
    for (const one of both) {
      await one.until((it) => texts(it).includes('four'))
      expect(texts(one)).toEqual(['one', 'two', 'three', 'four'])
      expect(one.states.map(({ state }) => state)).toEqual([
        'connecting',
        'pending',
        'connecting',
        'pending',
      ])
    }
  })

  test('begins after the cursor that its input names', async () => {
    await using app = await createTestApp()
    const roomId = await openRoom(app)
    using room = new Subscription(app, 'onRoomEvents', { roomId })
    await room.until(({ events }) => events.length > 0)
    const { cursor } = room.events[0].data
    await say(app, roomId, 'one')
    for (const input of [{ after: cursor }, { lastEventId: cursor }]) {
      using again = new Subscription(app, 'onRoomEvents', { roomId, ...input })
      // In either order: a stream that joins those who wait already is ready with them, before the news is read.
      await again.until(({ events }) => events.some(({ data }) => data?.type === 'ready'))
      await again.until((it) => texts(it).length > 0)
      expect(texts(again)).toEqual(['one'])
    }
  })

  test('that cannot be is told why', async () => {
    await using app = await createTestApp()
    const roomId = 'f'.repeat(24)
    const refused = async (name: StreamName, input: object, credential?: string) => {
      using subscription = new Subscription(app, name, input as never, credential)
      return (await subscription.done)?.data
    }
    expect(await refused('onRoomEvents', { roomId })).toMatchObject({
      code: 'NOT_FOUND',
      httpStatus: 404,
      requestId: expect.any(String),
    })
    expect(await refused('onRoomEvents', { roomId: 'x' })).toMatchObject({
      code: 'BAD_REQUEST',
      errors: { roomId: [expect.stringContaining('must be an id')] },
    })
    expect(await refused('onInboxEvents', { orgId: ORG, colour: 'red' })).toMatchObject({
      errors: { colour: ['is not a known key'] },
    })
    expect(await refused('onInboxEvents', { orgId: ORG }, 'garbage')).toMatchObject({
      code: 'UNAUTHORIZED',
    })
  })

  test('for which there is no room is asked for again', async () => {
    await using app = await createTestApp({ STREAMS_MAX: '1' })
    using first = new Subscription(app, 'onInboxEvents', { orgId: ORG })
    await first.until(({ events }) => events.length > 0)
    using second = new Subscription(app, 'onInboxEvents', { orgId: ORG })
    await second.until(({ states }) => states.some(({ error }) => error !== null))
    const { error } = second.states.at(-1) ?? {}
    expect(error?.data).toMatchObject({ code: 'SERVICE_UNAVAILABLE' })
  })

  test('ends with its key, and is not asked for again', async () => {
    await using app = await createTestApp()
    await using operator = createOperator(app)
    const { apiKey, secret } = await operator.call.createApiKey({ orgId: ORG, right: 'read' })
    using subscription = new Subscription(app, 'onInboxEvents', { orgId: ORG }, secret)
    await subscription.until(({ events }) => events.length > 0)
    await operator.call.revokeApiKey({ keyId: apiKey.id })
    expect(await subscription.done).toBeUndefined()
    expect(subscription.events.at(-1)).toEqual({ type: 'end', reason: 'revoked' })
  })
})

describe('on the wire', () => {
  test('is what tRPC’s adapter writes', async () => {
    await using app = await createTestApp()
    const roomId = await openRoom(app)
    await using reader = await EventReader.open(app, trpcPath('onRoomEvents', { roomId }))
    expect(reader.response.headers['content-type']).toBe('text/event-stream')
    expect(await reader.frame()).toEqual({ retry: '2000' })
    expect(await reader.frame()).toEqual({
      event: 'connected',
      data: '{"reconnectAfterInactivityMs":45000}',
    })
    const { id, data = '' } = (await reader.frame()) ?? {}
    expect(superjson.parse(data)).toMatchObject({ type: 'ready', cursor: id })
    // An EventSource would give this one the id before it.
    expect(await reader.frame()).toMatchObject({
      data: expect.stringContaining('presence'),
      id: '',
    })
    expect(await reader.frame()).toEqual({ event: 'restore-id', data: '', id })
  })

  test('is the same however the URL spells it', async () => {
    await using app = await createTestApp()
    const path = trpcPath('onInboxEvents', { orgId: ORG })
    for (const spelt of [path.replace('/on', '/%6F%6e'), path.replace('?', '?batch=0&')]) {
      await using reader = await EventReader.open(app, spelt)
      expect(await reader.frame()).toEqual({ retry: '2000' })
    }
  })

  test('other methods, batches and what is no input are refused', async () => {
    await using app = await createTestApp()
    const statusOf = async (path: string, init?: RequestInit) => {
      const answer = await app.fetch(path, init)
      return [answer.status, (await answer.text()).includes('serialized-error')]
    }
    const input = trpcPath('onInboxEvents', { orgId: ORG })
    // tRPC's adapter refuses these in its own way.
    expect(await statusOf('/trpc/onInboxEvents', json({ json: { orgId: ORG } }))).toEqual([
      200,
      true,
    ])
    expect(
      await statusOf(
        `/trpc/onInboxEvents?batch=1&input=${encodeURIComponent(JSON.stringify({ 0: { json: { orgId: ORG } } }))}`,
      ),
    ).toEqual([400, false])
    for (const bad of ['{', '1', 'null', '[]', '{"json":{"__proto__":{"orgId":"a"}}}', '%ff']) {
      expect(await statusOf(`/trpc/onInboxEvents?input=${bad}`), bad).toEqual([200, true])
    }
    expect(await statusOf('/trpc/onInboxEvents')).toEqual([200, true])
    await using reader = await EventReader.open(app, input)
    expect(await reader.next()).toMatchObject({ type: 'ready' })
  })

  test.each(['onInboxEvent%73?', 'onInboxEvents?batch=0&'])(
    'is the same for /trpc/%s, and is let go of when its reader leaves',
    async (start) => {
      await using app = await createTestApp({ STREAMS_MAX: '1' })
      const input = encodeURIComponent(JSON.stringify({ json: { orgId: ORG } }))
      const path = `/trpc/${start}input=${input}`
      const reader = await EventReader.open(app, path)
      expect(await reader.frame()).toEqual({ retry: '2000' })
      expect(await reader.next()).toMatchObject({ type: 'ready' })
      reader.close()
      while (app.log.every(({ streamEnd }) => streamEnd === undefined)) await sleep(5)
      await using again = await EventReader.open(app, path)
      expect(await again.next()).toMatchObject({ type: 'ready' })
    },
  )

  test('failures are warnings in the log', async () => {
    await using app = await createTestApp()
    await (await app.fetch(trpcPath('onRoomEvents', { roomId: 'x' }))).text()
    while (app.log.every(({ streamEnd }) => streamEnd === undefined)) await sleep(5)
    expect(app.log.at(-1)).toMatchObject({ level: 40, streamEnd: 'BAD_REQUEST' })
  })

  test('notes of superjson’s that cannot be are a failure of the caller, and are not logged', async () => {
    await using app = await createTestApp()
    for (const meta of [
      { values: { orgId: ['regexp'] } },
      { values: { 'constructor.a': ['Date'] } },
      { referentialEqualities: { 'private.a.b': ['orgId'] } },
    ]) {
      const input = JSON.stringify({ json: { orgId: 'private(' }, meta })
      const path = `/trpc/onInboxEvents?input=${encodeURIComponent(input)}`
      expect(await (await app.fetch(path)).text()).toContain('"httpStatus":400')
    }
    while (app.log.filter(({ streamEnd }) => streamEnd === 'BAD_REQUEST').length < 3) await sleep(5)
    expect(JSON.stringify(app.log)).not.toContain('private')
  })
})
