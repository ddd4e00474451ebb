import { expect, test } from 'vitest'
import { callVariantsOf } from './callVariants.ts'
import { as, createOrganisation, unlimited } from './credentials.ts'
import { type EventReader, streamVariants, type Told, trpcPath } from './eventReader.ts'
import { createTestApp, json, openRoom, type TestApp } from './support.ts'

const ORG = 'DOWELL12345'

/** A token of the support team for one room of each of two users and two products. */
async function createScope(app: TestApp) {
  const { keys } = await createOrganisation(app, ORG)
  const admin = as(app, keys.admin.secret)
  const rooms = []
  for (const userId of ['ann', 'bob']) {
    const identity = { userId, orgId: ORG, portfolioName: 'p', productName: `product of ${userId}` }
    rooms.push((await admin.createRoom(identity)).room.id)
  }
  const [anns = '', bobs = ''] = rooms
  const { token } = await admin.createUserToken({
    orgId: ORG,
    userId: 'amara',
    side: true,
    rooms,
  })
  return { admin, anns, bobs, headers: { authorization: `Bearer ${token}` } }
}

/** Reads a stream up to the first message. */
async function readUntilMessage(reader: EventReader): Promise<Told[]> {
  const events: Told[] = []
  for (;;) {
    const event = await reader.next()
    if (event === undefined) throw new Error('the stream has ended')
    events.push(event)
    if (event.type === 'message.created') return events
  }
}

test.each(streamVariants)(
  '$title has presence, typing and events of its own rooms only, whatever else the token may see',
  async (variant) => {
    await using app = await createTestApp(unlimited)
    const { admin, anns, bobs, headers } = await createScope(app)
    const productName = 'product of ann'
    const inputs: Record<typeof variant.name, Record<string, unknown>[]> = {
      onRoomEvents: [{ roomId: anns }],
      onUserEvents: [
        { orgId: ORG, userId: 'ann' },
        { orgId: ORG, userId: 'ann', productName },
      ],
      onInboxEvents: [
        { orgId: ORG, productName },
        variant.title.startsWith('v3')
          ? { orgId: ORG, productName, roomIds: `${anns},${bobs}` }
          : { orgId: ORG, productName, roomIds: [anns, bobs] },
      ],
    }
    for (const [index, input] of inputs[variant.name].entries()) {
      await using reader = await variant.open(app, input, headers)
      const before = await reader.nextOf('ready')
      for (const roomId of [bobs, anns]) {
        await admin.setTyping({ roomId, isTyping: true, userId: `typist ${index}`, side: false })
        await admin.createMessage({ roomId, messageData: 'text', side: true, author: 'a' })
      }
      const events = await readUntilMessage(reader)
      expect(before).toMatchObject({ type: 'ready' })
      expect(new Set(events.map(({ roomId }) => roomId))).toEqual(new Set([anns]))
      expect(events.map(({ type }) => type)).toEqual(
        expect.arrayContaining(['presence', 'typing', 'message.created']),
      )
    }
    // Nobody was shown in a room that the stream did not include.
    const watch = streamVariants.find(({ name }) => name === 'onRoomEvents')
    await using watcher = (await watch?.open(
      app,
      { roomId: bobs },
      {
        authorization: headers.authorization,
      },
    )) as EventReader
    expect((await watcher.nextOf('presence')).customer).toBe(false)
  },
)

test('a stream that names rooms of another product shows nobody as present in them', async () => {
  await using app = await createTestApp(unlimited)
  const { anns, bobs, headers } = await createScope(app)
  const [inbox] = streamVariants.filter(({ title }) => title === 'v3 onInboxEvents')
  const [room] = streamVariants.filter(({ title }) => title === 'v3 onRoomEvents')
  if (!inbox || !room) throw new Error('a variant is missing')
  const input = { orgId: ORG, productName: 'product of ann', roomIds: `${anns},${bobs}` }
  await using reader = await inbox.open(app, input, headers)
  await reader.nextOf('presence')
  const { secret } = await createOrganisation(app, ORG).then(({ keys }) => keys.read)
  const key = { authorization: `Bearer ${secret}` }
  await using watcher = await room.open(app, { roomId: bobs }, key)
  expect(await watcher.nextOf('presence')).toMatchObject({ customer: false, support: false })
  await using other = await room.open(app, { roomId: anns }, key)
  expect(await other.nextOf('presence')).toMatchObject({ customer: false, support: true })
})

test('HEAD on a stream shows nobody as present', async () => {
  await using app = await createTestApp(unlimited)
  const { admin, anns, headers } = await createScope(app)
  const { secret } = await createOrganisation(app, ORG).then(({ keys }) => keys.read)
  const [room] = streamVariants.filter(({ title }) => title === 'v3 onRoomEvents')
  await using watcher = (await room?.open(
    app,
    { roomId: anns },
    { authorization: `Bearer ${secret}` },
  )) as EventReader
  expect(await watcher.nextOf('presence')).toMatchObject({ support: false })
  for (const path of [
    `/api/v3/rooms/${anns}/events`,
    `/api/v3/events?orgId=${ORG}&roomIds=${anns}`,
    trpcPath('onRoomEvents', { roomId: anns }),
  ]) {
    const response = await app.fetch(path, { method: 'HEAD', headers })
    expect(response.status, path).toBeLessThan(300)
    await admin.createMessage({ roomId: anns, messageData: path, side: true, author: 'a' })
    // A presence event would come before the message.
    expect(await watcher.next(), path).toMatchObject({ message: { messageData: path } })
  }
})

test.each(streamVariants)(
  '$title takes an empty cursor for none, and "now" too',
  async (variant) => {
    await using app = await createTestApp()
    const body = { userId: 'ann', orgId: ORG, portfolioName: 'p', productName: 'q' }
    const { room } = (await (await app.fetch('/api/v3/rooms', json(body))).json()) as Told
    const target = {
      onRoomEvents: { roomId: room.id },
      onInboxEvents: { orgId: ORG },
      onUserEvents: { orgId: ORG, userId: 'ann' },
    }[variant.name]
    for (const [input, headers] of [
      [{ after: '' }, {}],
      [{ lastEventId: '' }, {}],
      [{ after: '', lastEventId: '' }, { 'last-event-id': '' }],
      [{ after: 'now' }, { 'last-event-id': '' }],
      [{ lastEventId: 'now' }, {}],
    ] as [Record<string, string>, Record<string, string>][]) {
      await using reader = await variant.open(app, { ...target, ...input }, headers)
      expect(await reader.next(), JSON.stringify(input)).toMatchObject({ type: 'ready' })
    }
    // The one that is not empty counts.
    await using first = await variant.open(app, target)
    const { cursor } = await first.nextOf('ready')
    const message = { messageData: 'one', side: false, author: 'ann' }
    await app.fetch(`/api/v3/rooms/${room.id}/messages`, json(message))
    // Now the server knows that the log has it.
    await first.nextOf('message.created')
    const input = { ...target, after: cursor, lastEventId: '' }
    await using again = await variant.open(app, input)
    expect(await again.nextOf('message.created', 'reset')).toMatchObject({
      type: 'message.created',
    })
  },
)

test.each(callVariantsOf('listEvents'))(
  '$title begins from now with "now", and at the oldest event with an empty cursor',
  async (variant) => {
    await using app = await createTestApp()
    const room = await openRoom(app)
    const send = (messageData: string) =>
      app.fetch(
        `/api/v3/rooms/${room}/messages`,
        json({ messageData, side: false, author: 'ABCD12345' }),
      )
    const list = async (input: object) => {
      const { body } = await variant.call(app, { orgId: ORG, ...input })
      return ((body as Told).result?.data.json ?? body) as Told
    }
    await send('before')
    const now = await list({ after: 'now' })
    expect(now).toMatchObject({ items: [], hasAfter: false })
    await send('after')
    const { items } = await list({ after: now.after })
    expect(items.map(({ message }: Told) => message.messageData)).toEqual(['after'])
    expect((await list({ after: '' })).items[0]).toMatchObject({ type: 'room.created' })
  },
)
