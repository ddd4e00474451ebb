import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { as, createOrganisation, type Organisation, unlimited } from './credentials.ts'
import { ask } from './database.ts'
import { createTestApp, json, type TestApp } from './support.ts'

const GREETING = 'How may I help you'

let app: TestApp
let org: Organisation
let now = Date.parse('2026-01-01T00:00:00Z')

beforeAll(async () => {
  app = await createTestApp(unlimited, { clock: () => now })
  org = await createOrganisation(app, 'DOWELL12345')
})
afterAll(() => app?.[Symbol.asyncDispose]())

const admin = () => as(app, org.keys.admin.secret)

let rooms = 0

async function openRoom(): Promise<string> {
  const productName = `product ${++rooms}`
  const identity = { orgId: org.id, userId: org.customer, portfolioName: 'umair', productName }
  return (await admin().createRoom(identity)).room.id
}

async function write(roomId: string, ...texts: string[]): Promise<string[]> {
  const ids: string[] = []
  for (const messageData of texts) {
    const input = { roomId, messageData, side: false, author: org.customer }
    ids.push((await admin().createMessage(input)).message.id)
  }
  return ids
}

/** Everything in the database that a change of a message can change. */
async function stateOf(roomId: string) {
  const [room] = await ask(app, 'select * from rooms where id = ?', roomId)
  const events = await ask(
    app,
    'select type, message_seq from events where room_id = ? order by position',
    roomId,
  )
  const audit = await ask(app, 'select count(*) as count from audit_events')
  return { room, events: events as { type: string; message_seq: number | null }[], audit }
}

/** A change over both wires: each gets a room and a message of its own. */
const wires = {
  tRPC: {
    edit: (roomId: string, messageId: string, messageData: string) =>
      admin().updateMessage({ roomId, messageId, messageData }),
    remove: (roomId: string, messageId: string) => admin().deleteMessage({ roomId, messageId }),
  },
  REST: {
    edit: (roomId: string, messageId: string, messageData: string) =>
      rest(roomId, messageId, json({ messageData }, 'PATCH')),
    remove: (roomId: string, messageId: string) => rest(roomId, messageId, { method: 'DELETE' }),
  },
}

async function rest(roomId: string, messageId: string, init: RequestInit) {
  const headers = { ...init.headers, Authorization: `Bearer ${org.keys.admin.secret}` }
  const path = `/api/v3/rooms/${roomId}/messages/${messageId}`
  const body = (await (await app.fetch(path, { ...init, headers })).json()) as object
  const dates = Object.entries(body).filter(([key, value]) => key.endsWith('At') && value !== null)
  return { ...body, ...Object.fromEntries(dates.map(([key, at]) => [key, new Date(at as string)])) }
}

describe.each(Object.entries(wires))('over %s', (_, { edit, remove }) => {
  test('an edit changes the text and nothing else of the message', async () => {
    const roomId = await openRoom()
    const [first = '', second = ''] = await write(roomId, 'first', 'second')
    const [, before] = (await admin().getMessages({ roomId })).items
    const earlier = await stateOf(roomId)

    now += 1_000
    const edited = await edit(roomId, second, 'second, edited')
    expect(edited).toEqual({
      ...before,
      messageData: 'second, edited',
      editedAt: new Date(now),
      version: 2,
    })
    expect((await admin().getMessages({ roomId })).items[1]).toEqual(edited)
    const later = await stateOf(roomId)
    expect(later.room).toMatchObject({ last_message: 'second, edited', updated_at: now })
    expect(later.room?.version).toBeGreaterThan(earlier.room?.version as number)
    expect(later.events).toEqual([...earlier.events, { type: 'message.updated', message_seq: 2 }])

    // An older one is not what the room shows.
    await edit(roomId, first, 'first, edited')
    expect(await admin().getRoomById({ roomId })).toMatchObject({ messageData: 'second, edited' })
    expect((await stateOf(roomId)).room?.version).toBeGreaterThan(later.room?.version as number)
  })

  test('a deletion leaves the place and takes the text', async () => {
    const roomId = await openRoom()
    const [first = '', second = '', third = ''] = await write(roomId, 'first', 'second', 'third')
    const [, , before] = (await admin().getMessages({ roomId })).items

    now += 1_000
    const deleted = await remove(roomId, third)
    const gone = { messageData: '', isActive: false, deletedAt: new Date(now) }
    expect(deleted).toEqual({ ...before, ...gone, version: 2 })
    expect(await admin().getRoomById({ roomId })).toMatchObject({
      messageData: 'second',
      updatedAt: new Date(now),
    })
    expect((await stateOf(roomId)).events.at(-1)).toEqual({
      type: 'message.deleted',
      message_seq: 3,
    })
    await remove(roomId, first)
    expect(await admin().getRoomById({ roomId })).toMatchObject({ messageData: 'second' })
    await remove(roomId, second)
    expect(await admin().getRoomById({ roomId })).toMatchObject({ messageData: GREETING })
    expect((await admin().getMessages({ roomId })).items).toMatchObject([
      { seq: 1, ...gone },
      { seq: 2, ...gone },
      { seq: 3, ...gone },
    ])
    await write(roomId, 'fourth')
    expect(await admin().getRoomById({ roomId })).toMatchObject({ messageData: 'fourth' })
  })

  test('what is so already changes nothing', async () => {
    const roomId = await openRoom()
    const [kept = '', lost = ''] = await write(roomId, 'kept', 'lost')
    const deleted = await remove(roomId, lost)
    const edited = await edit(roomId, kept, 'edited')
    const before = await stateOf(roomId)
    now += 1_000
    expect(await edit(roomId, kept, 'edited')).toEqual(edited)
    expect(await remove(roomId, lost)).toEqual(deleted)
    expect(await stateOf(roomId)).toEqual(before)
  })
})

test('events tell a message as it is now', async () => {
  const roomId = await openRoom()
  const [first = '', second = ''] = await write(roomId, 'first', 'second')
  await admin().updateMessage({ roomId, messageId: first, messageData: 'edited' })
  await admin().deleteMessage({ roomId, messageId: second })
  const { items } = await admin().listEvents({ orgId: org.id, roomId })
  expect(items.map((event) => ('message' in event ? [event.type, event.message] : []))).toEqual([
    [],
    ['message.created', expect.objectContaining({ messageData: 'edited' })],
    ['message.created', expect.objectContaining({ messageData: '', isActive: false })],
    ['message.updated', expect.objectContaining({ messageData: 'edited' })],
    ['message.deleted', expect.objectContaining({ messageData: '', isActive: false })],
  ])
})

test('v2 shows changed messages where they were', async () => {
  const roomId = await openRoom()
  const [first = '', second = ''] = await write(roomId, 'first', 'second')
  await admin().updateMessage({ roomId, messageId: first, messageData: 'edited' })
  await admin().deleteMessage({ roomId, messageId: second })
  const headers = { Authorization: `Bearer ${org.keys.read.secret}` }
  const ask = async (type: string) => {
    const path = `/api/v2/room-service/?type=${type}&room_id=${roomId}`
    return (await app.fetch(path, { headers })).json() as Promise<{ response: object[] }>
  }
  expect((await ask('get_messages')).response).toMatchObject([
    { seq: 1, message_data: 'edited', is_active: true },
    { seq: 2, message_data: '', is_active: false },
  ])
  expect((await ask('get_room_by_id')).response).toMatchObject([{ message_data: 'edited' }])
  await admin().deleteMessage({ roomId, messageId: first })
  expect((await ask('get_room_by_id')).response).toMatchObject([{ message_data: GREETING }])
})

test('a token changes what its own user wrote on its own side, and nothing else', async () => {
  const roomId = await openRoom()
  const { tokens, customer, supporter } = org
  const tokenOf = async (userId: string, side: boolean) =>
    (await admin().createUserToken({ orgId: org.id, userId, side })).token
  const authors = [
    { author: customer, side: false, token: tokens.customer },
    { author: supporter, side: true, token: tokens.support },
    // One name on two sides is two people.
    { author: customer, side: true, token: await tokenOf(customer, true) },
    { author: 'a colleague', side: true, token: await tokenOf('a colleague', true) },
  ]
  for (const writer of authors) {
    for (const by of authors) {
      const { author, side } = writer
      const input = { roomId, messageData: 'text', author, side }
      const { message } = await admin().createMessage(input)
      const where = { roomId, messageId: message.id }
      const edit = as(app, by.token).updateMessage({ ...where, messageData: 'edited' })
      const told = `${by.author} ${by.side} ${author} ${side}`
      if (by === writer) {
        expect(await edit, told).toMatchObject({ messageData: 'edited' })
        const deleted = await as(app, by.token).deleteMessage(where)
        expect(deleted, told).toMatchObject({ isActive: false })
      } else {
        await expect(edit, told).rejects.toMatchObject({ code: 'FORBIDDEN' })
        const deletion = as(app, by.token).deleteMessage(where)
        await expect(deletion, told).rejects.toMatchObject({ code: 'FORBIDDEN' })
        expect((await admin().getMessages({ roomId, limit: 1 })).items).toEqual([message])
      }
    }
  }
})

test('a deleted message is not edited, and in a deleted room none is, but each may be deleted', async () => {
  const roomId = await openRoom()
  const [first = '', second = ''] = await write(roomId, 'first', 'second')
  const edit = (messageId: string, messageData: string) =>
    admin().updateMessage({ roomId, messageId, messageData })
  await admin().deleteMessage({ roomId, messageId: first })
  await expect(edit(first, 'back')).rejects.toMatchObject({ code: 'MESSAGE_DELETED', status: 409 })

  await admin().deleteRoom({ roomId })
  await expect(edit(second, 'edited')).rejects.toMatchObject({ code: 'ROOM_CLOSED', status: 409 })
  // A retry of an edit from before is answered, as one of a send is.
  expect(await edit(second, 'second')).toMatchObject({ messageData: 'second', editedAt: null })
  expect(await admin().deleteMessage({ roomId, messageId: second })).toMatchObject({
    messageData: '',
  })
  await expect(edit(second, 'back')).rejects.toMatchObject({ code: 'MESSAGE_DELETED' })
})

test('an edit obeys the rules of a send', async () => {
  const roomId = await openRoom()
  const [messageId = ''] = await write(roomId, 'text')
  const edit = (messageData: unknown) =>
    admin().updateMessage({ roomId, messageId, messageData: messageData as string })
  const longest = '🙂'.repeat(16_000)
  expect(await edit(longest)).toMatchObject({ messageData: longest })
  for (const text of ['', `${longest}a`, 'a\0b', '\ud800', 7, null, undefined]) {
    await expect(edit(text)).rejects.toMatchObject({
      code: 'BAD_REQUEST',
      errors: { messageData: [expect.any(String)] },
    })
  }
})

test('what is not in the room is not found', async () => {
  const roomId = await openRoom()
  const [elsewhere = ''] = await write(await openRoom(), 'elsewhere')
  for (const messageId of [elsewhere, 'f'.repeat(24)]) {
    const where = { roomId, messageId }
    const failure = { code: 'NOT_FOUND', message: 'There is no such message in this room' }
    await expect(admin().deleteMessage(where)).rejects.toMatchObject(failure)
    const edit = admin().updateMessage({ ...where, messageData: 'x' })
    await expect(edit).rejects.toMatchObject(failure)
  }
})

test('a send that is repeated answers the message as it is now', async () => {
  const roomId = await openRoom()
  const send = (messageData: string) =>
    admin().createMessage({
      roomId,
      messageData,
      side: false,
      author: org.customer,
      clientMessageId: 'sent-once-0123456789',
    })
  const messageId = (await send('sent')).message.id
  const edited = await admin().updateMessage({ roomId, messageId, messageData: 'edited' })
  expect(await send('sent')).toEqual({ message: edited, replayed: true })
  // What it was edited to was never sent under this id, nor was any other text.
  for (const other of ['edited', 'another']) {
    await expect(send(other)).rejects.toMatchObject({ code: 'IDEMPOTENCY_CONFLICT', status: 409 })
  }
  const kept = await ask(app, 'select hash from first_texts where room_id = ?', roomId)
  expect(kept).toEqual([{ hash: expect.stringMatching(/^[\w-]{43}$/) }])
  await admin().updateMessage({ roomId, messageId, messageData: 'edited again' })
  expect(await ask(app, 'select hash from first_texts where room_id = ?', roomId)).toEqual(kept)
  const deleted = await admin().deleteMessage({ roomId, messageId })
  // Nothing is left to compare with.
  for (const text of ['sent', 'another']) {
    expect(await send(text)).toEqual({ message: deleted, replayed: true })
  }
  expect(await ask(app, 'select hash from first_texts where room_id = ?', roomId)).toEqual([])
  expect((await admin().getMessages({ roomId })).items).toEqual([deleted])
})

test('edits, deletions and sends at once leave the room showing the newest that is left', async () => {
  for (let round = 0; round < 5; round++) {
    const roomId = await openRoom()
    const ids = await write(roomId, ...Array.from({ length: 12 }, (_, n) => `message ${n}`))
    const before = await stateOf(roomId)
    const results = await Promise.allSettled(
      ids.flatMap((messageId, n) => [
        ...(n % 3 === round % 3 ? [admin().deleteMessage({ roomId, messageId })] : []),
        ...(n % 2 === 0 ? [admin().updateMessage({ roomId, messageId, messageData: 'edit' })] : []),
        ...(n % 4 === 3 ? [write(roomId, `new ${n}`)] : []),
        // The same twice: one of them changes something.
        ...(n > 8 ? [admin().deleteMessage({ roomId, messageId })] : []),
      ]),
    )
    const refused = results.flatMap((each) => (each.status === 'rejected' ? [each.reason] : []))
    for (const error of refused) expect(error).toMatchObject({ code: 'MESSAGE_DELETED' })

    const { items } = await admin().getMessages({ roomId })
    expect(items.map(({ seq }) => seq)).toEqual(items.map((_, index) => index + 1))
    const newest = items.findLast(({ isActive }) => isActive)
    expect((await admin().getRoomById({ roomId })).messageData).toBe(newest?.messageData)

    const told = (await stateOf(roomId)).events.slice(before.events.length)
    const ofType = (type: string) =>
      told.filter((event) => event.type === type).map((event) => event.message_seq)
    const deleted = items.filter(({ isActive }) => !isActive).map(({ seq }) => seq)
    expect(ofType('message.deleted').toSorted((a, b) => Number(a) - Number(b))).toEqual(deleted)
    const edited = items.filter(({ editedAt }) => editedAt !== null).map(({ seq }) => seq)
    expect(ofType('message.updated').toSorted((a, b) => Number(a) - Number(b))).toEqual(edited)
    const versions = [before.room, (await stateOf(roomId)).room].map(
      (room) => room?.version as number,
    )
    expect(versions[1]).toBe((versions[0] as number) + told.length)
  }
})
