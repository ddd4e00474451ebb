import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { json as readJson } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTestApp, json, type TestApp } from './support.ts'

let app: TestApp
beforeAll(async () => {
  app = await createTestApp()
})
afterAll(() => app[Symbol.asyncDispose]())

const CONTROL = '/api/v2/room-control/'
const SERVICE = '/api/v2/room-service/'
const LIST = '/api/v2/room-list/'

// biome-ignore lint/suspicious/noExplicitAny: answers are looked into as any client does
type Body = any
type Fields = Record<string, unknown>

interface Answer {
  readonly status: number
  readonly body: Body
}

async function call(path: string, init?: RequestInit): Promise<Answer> {
  const response = await app.fetch(path, init)
  expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8')
  return { status: response.status, body: await response.json() }
}

const get = (path: string, query: Record<string, string>) =>
  call(`${path}?${new URLSearchParams(query)}`)
const post = (path: string, body: unknown) => call(path, json(body))

/** fetch sends no body with GET, but the documented delete_room does. */
async function sendBody(method: string, path: string, fields: Fields): Promise<Answer> {
  const body = JSON.stringify(fields)
  const outgoing = request(`${app.url}${path}`, {
    method,
    headers: { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) },
  })
  outgoing.end(body)
  const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage]
  return { status: incoming.statusCode as number, body: await readJson(incoming) }
}

/** The documented request to open a room, for an organisation of the test's own. */
function roomRequest(changes: Fields = {}): Fields {
  return {
    user_id: 'ABCD12345',
    org_id: `org-${randomUUID()}`,
    portfolio_name: 'umair',
    product_name: 'WIFIQRCODE',
    ...changes,
  }
}

async function openRoom(changes: Fields = {}): Promise<string> {
  const { body } = await post(CONTROL, roomRequest(changes))
  return body.inserted_id
}

function messageRequest(room_id: string, changes: Fields = {}): Fields {
  return {
    type: 'create_message',
    room_id,
    message_data: 'message',
    side: true,
    auther: 'client',
    message_type: 'text',
    ...changes,
  }
}

async function messagesOf(room_id: string, query: Record<string, string> = {}): Promise<Body[]> {
  const { status, body } = await get(SERVICE, { type: 'get_messages', room_id, ...query })
  expect(status).toBe(200)
  return body.response
}

async function isActive(room_id: string): Promise<boolean> {
  const { body } = await get(SERVICE, { type: 'get_room_by_id', room_id })
  return body.response[0].is_active
}

function expectFailure(answer: Answer, status: number, code: string, errors?: Fields): void {
  expect(answer).toEqual({
    status,
    body: {
      success: false,
      message: expect.any(String),
      code,
      requestId: expect.any(String),
      ...(errors === undefined ? {} : { errors }),
    },
  })
}

/** Every documented key is there, as deep and of the same JSON type. More keys are allowed. */
function expectShape(actual: unknown, documented: unknown, at = 'the answer'): void {
  if (Array.isArray(documented)) {
    expect(Array.isArray(actual), `${at} is a list`).toBe(true)
    for (const item of actual as unknown[]) expectShape(item, documented[0], `an item of ${at}`)
  } else if (typeof documented === 'object' && documented !== null) {
    expect(actual, at).toBeTypeOf('object')
    for (const [key, value] of Object.entries(documented)) {
      expect(actual, at).toHaveProperty([key])
      expectShape((actual as Fields)[key], value, `${at}.${key}`)
    }
  } else {
    expect(actual, at).toBeTypeOf(typeof documented as 'string')
  }
}

/** The object that the document shows for a room, and for a message too. */
const documentedObject = {
  _id: '_id',
  eventId: 'eventId',
  user_id: 'user_id',
  org_id: 'org_id',
  portfolio_name: 'portfolio_name',
  room_room_id: 'room_room_id',
  product_name: 'product_name',
  message_data: 'message',
  is_active: false,
}

const ID = /^[0-9a-f]{24}$/
const UNKNOWN_ID = 'ffffffffffffffffffffffff'

describe('the documented examples', () => {
  test.each(['Room created successfully', 'Room filter successfully'])(
    '1. Create room API: "%s"',
    async (message) => {
      const sent = roomRequest()
      if (message === 'Room filter successfully') await post(CONTROL, sent)
      const { status, body } = await post(CONTROL, sent)
      expect(status).toBe(200)
      expectShape(body, {
        success: true,
        message: 'Room filter successfully',
        inserted_id: '64e96a73f59c079a226e1ae9',
        response: {
          _id: '64e96a73f59c079a226e1ae9',
          eventId: 'FB10100000001693018738#5535526',
          user_id: 'ABCD12345',
          org_id: 'DOWELL12345',
          portfolio_name: 'umair',
          room_room_id: '19-ABCD12345',
          product_name: 'LOGOSCAN',
          message_data: 'message',
          is_active: true,
        },
      })
      expect(body).toMatchObject({
        success: true,
        message,
        inserted_id: body.response._id,
        response: { ...sent, is_active: true },
      })
    },
  )

  test('2. Post send_message to database', async () => {
    const room_id = await openRoom()
    const { status, body } = await post(SERVICE, {
      type: 'create_message',
      room_id,
      message_data: 'message',
      side: true,
      auther: 'client',
      message_type: 'text',
    })
    expect(status).toBe(200)
    expect(body).toMatchObject({
      success: true,
      message: 'Message updated successfully',
      response: { isSuccess: true },
    })
  })

  test('3. Get message by room Id', async () => {
    const sent = roomRequest()
    const room = (await post(CONTROL, sent)).body.response
    await post(SERVICE, messageRequest(room._id))
    const { status, body } = await call(`${SERVICE}?type=get_messages&room_id=${room._id}`)
    expect(status).toBe(200)
    expectShape(body, {
      success: true,
      message: 'Room deatils based on workspace id',
      response: [documentedObject],
    })
    expect(body).toMatchObject({ success: true, message: 'Room deatils based on workspace id' })
    expect(body.response).toEqual([
      {
        _id: expect.stringMatching(ID),
        eventId: room.eventId,
        ...sent,
        room_room_id: '13-ABCD12345',
        message_data: 'message',
        is_active: true,
        // What a message is, besides.
        room_id: room._id,
        seq: 1,
        side: true,
        author: 'client',
        auther: 'client',
        message_type: 'text',
        client_message_id: null,
        created_at: expect.any(String),
      },
    ])
    expect(body.response[0]._id).not.toBe(room._id)
  })

  test('4. Get room by Id', async () => {
    const { response: room } = (await post(CONTROL, roomRequest())).body
    const { status, body } = await call(`${SERVICE}?type=get_room_by_id&room_id=${room._id}`)
    expect(status).toBe(200)
    expectShape(body, {
      success: true,
      message: 'Room deatils based on workspace id',
      response: [documentedObject],
    })
    expect(body).toEqual({
      success: true,
      message: 'Room deatils based on workspace id',
      response: [room],
    })
  })

  test('5. Delete Chat room to database', async () => {
    const room_id = await openRoom()
    const { status, body } = await sendBody('GET', SERVICE, {
      type: 'delete_room',
      room_id,
      is_active: false,
    })
    expect(status).toBe(200)
    expect(body).toMatchObject({
      success: true,
      message: 'Room deleted successfully',
      response: { isSuccess: true },
    })
    expect(await isActive(room_id)).toBe(false)
  })

  test('Server side 1. fetch list of rooms product from database', async () => {
    const sent = roomRequest({ product_name: 'WORKFLOWAI' })
    const { response: room } = (await post(CONTROL, sent)).body
    await post(CONTROL, { ...sent, product_name: 'LOGIN' })
    const { status, body } = await call(`${LIST}?org_id=${sent.org_id}&product_name=WORKFLOWAI`)
    expect(status).toBe(200)
    expectShape(body, { rooms: [documentedObject] })
    expect(body.rooms).toEqual([room])
  })
})

describe('how values are made', () => {
  test('ids, event ids and times look as in the document', async () => {
    // The second in which the document's own event id was made.
    await using then = await createTestApp({}, { clock: () => 1_693_018_738_250 })
    const response = await then.fetch(CONTROL, json(roomRequest()))
    const { inserted_id, response: room } = (await response.json()) as Body
    expect(inserted_id).toMatch(/^64e96a72[0-9a-f]{16}$/)
    expect(room).toMatchObject({ _id: inserted_id, room_id: inserted_id })
    expect(room.eventId).toMatch(/^FB10100000001693018738#\d{7}$/)
    expect(room.eventId).toHaveLength('FB10100000001693018738#5535526'.length)
    expect(room.created_at).toBe('2023-08-26T02:58:58.250Z')
    expect(room.updated_at).toBe(room.created_at)
  })

  test.each(
    `WORKFLOWAI 11, TEAMMANAGEMENT 12, WIFIQRCODE 13, SALESAGENTLOGIN 14, LEGALZARD 15,
    USEREXPERIENCELIVE 16, SOCIALMEDIAAUTOMATION 17, LIVINGLABSCALES 18, LOGOSCAN 19,
    LIVINGLABMONITORING 20, PERMUTATIONCALCULATOR 21, SECUREREPOSITORIES 22, SECUREDATA 23,
    CUSTOMEREXPERIENCE 24, DOWELLCSC 25, LIVINGLABCHAT 26, SALESAGENT 27, LOGIN 28,
    DOWELLMAIL 29, EXTENSION 30, LIVINGLABADMIN 31, PUBLICCHAT 32, someone else's someone else's`
      .split(/,\s+/)
      .map((entry) => /^(.+) (someone else's|\d\d)$/.exec(entry)?.slice(1) as [string, string]),
  )('the room_room_id of a room of %s begins with %s', async (product_name, code) => {
    const { body } = await post(CONTROL, roomRequest({ product_name }))
    expect(body.response).toMatchObject({ product_name, room_room_id: `${code}-ABCD12345` })
  })

  test("a room's message_data is a greeting, then its latest message", async () => {
    const { inserted_id, response: room } = (await post(CONTROL, roomRequest())).body
    expect(room.message_data).toBe('How may I help you')
    await post(SERVICE, messageRequest(inserted_id, { message_data: 'first' }))
    await post(SERVICE, messageRequest(inserted_id, { message_data: 'second' }))
    const { body } = await get(SERVICE, { type: 'get_room_by_id', room_id: inserted_id })
    expect(body.response[0].message_data).toBe('second')
  })
})

describe('create room', () => {
  test('finds the room of the same user, organisation, portfolio and product', async () => {
    const sent = roomRequest()
    const first = await post(CONTROL, sent)
    expect((await post(CONTROL, sent)).body).toEqual({
      ...first.body,
      message: 'Room filter successfully',
    })
    for (const key of ['user_id', 'org_id', 'portfolio_name', 'product_name']) {
      const other = await post(CONTROL, { ...sent, [key]: 'another' })
      expect(other.body.message).toBe('Room created successfully')
      expect(other.body.inserted_id).not.toBe(first.body.inserted_id)
    }
  })

  test('makes one room of calls at once', async () => {
    const sent = roomRequest()
    const answers = await Promise.all(Array.from({ length: 20 }, () => post(CONTROL, sent)))
    expect(new Set(answers.map(({ body }) => body.inserted_id)).size).toBe(1)
    const created = answers.filter(({ body }) => body.message === 'Room created successfully')
    expect(created).toHaveLength(1)
  })

  test('opens a new room where the old one is deleted', async () => {
    const sent = roomRequest()
    const room_id = (await post(CONTROL, sent)).body.inserted_id
    await post(SERVICE, { type: 'delete_room', room_id })
    const { body } = await post(CONTROL, sent)
    expect(body.message).toBe('Room created successfully')
    expect(body.inserted_id).not.toBe(room_id)
  })

  test('ignores what it does not know, as form clients send more', async () => {
    const sent = roomRequest()
    const { status, body } = await post(CONTROL, { ...sent, isLogin: true, ['__proto__']: 1 })
    expect(status).toBe(200)
    expect(body.response).toMatchObject(sent)
  })

  test('names each field that is wrong', async () => {
    expectFailure(await post(CONTROL, { user_id: '', portfolio_name: 5 }), 400, 'BAD_REQUEST', {
      user_id: ['must not be empty'],
      org_id: ['is required'],
      portfolio_name: ['must be text'],
      product_name: ['is required'],
    })
  })
})

describe('auther and author', () => {
  test.each([
    ['auther', { auther: 'umair' }],
    ['author', { auther: undefined, author: 'umair' }],
    ['both, when they agree', { auther: 'umair', author: 'umair' }],
  ])('%s', async (_, fields) => {
    const room_id = await openRoom()
    expect((await post(SERVICE, messageRequest(room_id, fields))).status).toBe(200)
    expect((await messagesOf(room_id))[0]).toMatchObject({ auther: 'umair', author: 'umair' })
  })

  test('both, when they disagree, are refused', async () => {
    const sent = messageRequest(await openRoom(), { auther: 'one', author: 'another' })
    expectFailure(await post(SERVICE, sent), 400, 'BAD_REQUEST', {
      author: ['must agree with auther'],
    })
  })

  test('one of them is required', async () => {
    const sent = messageRequest(await openRoom(), { auther: undefined })
    expectFailure(await post(SERVICE, sent), 400, 'BAD_REQUEST', { auther: ['is required'] })
  })
})

describe('side', () => {
  const words: [unknown, boolean][] = [
    ...[true, 1, 'true', 'True', 'TRUE', '1', 'yes', 'on', ' true '].map(
      (word): [unknown, boolean] => [word, true],
    ),
    ...[false, 0, 'false', 'False', 'FALSE', '0', 'no', 'off'].map((word): [unknown, boolean] => [
      word,
      false,
    ]),
  ]
  test.each(words)('%j is %s', async (side, meaning) => {
    const room_id = await openRoom()
    expect((await post(SERVICE, messageRequest(room_id, { side }))).status).toBe(200)
    expect((await messagesOf(room_id))[0].side).toBe(meaning)
  })

  test.each(['', 'support', '2', 2, -1, null, [true], {}, 'nulll'])(
    '%j is refused',
    async (side) => {
      const room_id = await openRoom()
      expectFailure(await post(SERVICE, messageRequest(room_id, { side })), 400, 'BAD_REQUEST', {
        side: ['must be true or false'],
      })
      expect(await messagesOf(room_id)).toEqual([])
    },
  )

  test('is required', async () => {
    const sent = messageRequest(await openRoom(), { side: undefined })
    expectFailure(await post(SERVICE, sent), 400, 'BAD_REQUEST', { side: ['is required'] })
  })
})

describe('message_type', () => {
  const kinds = ['text', 'TEXT', 'Image', 'FILE', 'audio', 'Video', 'system']
  test.each(kinds)('%s is taken, and answered as it was sent', async (message_type) => {
    const room_id = await openRoom()
    await post(SERVICE, messageRequest(room_id, { message_type }))
    expect((await messagesOf(room_id))[0].message_type).toBe(message_type)
  })

  test('is text when it is left out', async () => {
    const room_id = await openRoom()
    await post(SERVICE, messageRequest(room_id, { message_type: undefined }))
    expect((await messagesOf(room_id))[0].message_type).toBe('text')
  })

  test.each(['', 'smell', 'text ', 5])('%j is refused', async (message_type) => {
    const answer = await post(SERVICE, messageRequest(await openRoom(), { message_type }))
    expectFailure(answer, 400, 'BAD_REQUEST', { message_type: [expect.any(String)] })
  })
})

describe('client_message_id', () => {
  test('makes a send that is repeated one message', async () => {
    const room_id = await openRoom()
    const sent = messageRequest(room_id, { client_message_id: 'abcdefghijklmnop' })
    const first = await post(SERVICE, sent)
    expect(await post(SERVICE, sent)).toEqual(first)
    expect((await messagesOf(room_id)).map((message) => message.client_message_id)).toEqual([
      'abcdefghijklmnop',
    ])
    const other = await post(SERVICE, { ...sent, message_data: 'other' })
    expectFailure(other, 409, 'IDEMPOTENCY_CONFLICT')
  })
})

/** Every way in which real clients send delete_room. */
const deletions: Record<string, (fields: Record<string, string | boolean>) => Promise<Answer>> = {
  'GET with a query': (fields) => get(SERVICE, texts({ type: 'delete_room', ...fields })),
  'GET with a JSON body': (fields) => sendBody('GET', SERVICE, { type: 'delete_room', ...fields }),
  'POST of JSON': (fields) => post(SERVICE, { type: 'delete_room', ...fields }),
  'POST of a urlencoded form': (fields) =>
    call(SERVICE, {
      method: 'POST',
      body: new URLSearchParams(texts({ type: 'delete_room', ...fields })),
    }),
  'POST of a multipart form': (fields) =>
    call(SERVICE, { method: 'POST', body: multipart({ type: 'delete_room', ...fields }) }),
  'POST with a query': (fields) =>
    call(`${SERVICE}?${new URLSearchParams(texts({ type: 'delete_room', ...fields }))}`, {
      method: 'POST',
    }),
  'DELETE with a query': (fields) =>
    call(`${SERVICE}?${new URLSearchParams(texts({ type: 'delete_room', ...fields }))}`, {
      method: 'DELETE',
    }),
  'DELETE without a type': (fields) =>
    call(`${SERVICE}?${new URLSearchParams(texts(fields))}`, { method: 'DELETE' }),
  'DELETE with a JSON body': (fields) =>
    call(SERVICE, json({ type: 'delete_room', ...fields }, 'DELETE')),
}

function texts(fields: Fields): Record<string, string> {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, String(value)]))
}

function multipart(fields: Fields): FormData {
  const form = new FormData()
  for (const [key, value] of Object.entries(texts(fields))) form.append(key, value)
  return form
}

test('HEAD changes nothing, though GET deletes', async () => {
  const room_id = await openRoom()
  const query = new URLSearchParams({ type: 'delete_room', room_id })
  const refused = await app.fetch(`${SERVICE}?${query}`, { method: 'HEAD' })
  expect([refused.status, refused.headers.get('allow')]).toEqual([405, 'POST, DELETE, OPTIONS'])
  expect(await isActive(room_id)).toBe(true)
  query.set('type', 'get_messages')
  expect((await app.fetch(`${SERVICE}?${query}`, { method: 'HEAD' })).status).toBe(200)
})

describe.each(Object.entries(deletions))('delete_room by %s', (_, remove) => {
  const deleted = {
    status: 200,
    body: {
      success: true,
      message: 'Room deleted successfully',
      response: { isSuccess: true },
    },
  }

  test('deletes when is_active is false, and when it is left out; true restores', async () => {
    const room_id = await openRoom()
    expect(await remove({ room_id, is_active: false })).toEqual(deleted)
    expect(await isActive(room_id)).toBe(false)
    // Deleting a deleted room changes nothing.
    expect(await remove({ room_id })).toEqual(deleted)
    expect(await remove({ room_id, is_active: true })).toMatchObject({
      status: 200,
      body: {
        success: true,
        message: 'Room restored successfully',
        response: { isSuccess: true },
      },
    })
    expect(await isActive(room_id)).toBe(true)
    expect(await remove({ room_id })).toEqual(deleted)
    expect(await isActive(room_id)).toBe(false)
  })

  test('refuses what it cannot do, and says why', async () => {
    const sent = roomRequest()
    const room_id = (await post(CONTROL, sent)).body.inserted_id
    expectFailure(await remove({ room_id, is_active: 'perhaps' }), 400, 'BAD_REQUEST', {
      is_active: ['must be true or false'],
    })
    // Empty is not left out: that would delete.
    expectFailure(await remove({ room_id, is_active: '' }), 400, 'BAD_REQUEST', {
      is_active: ['must be true or false'],
    })
    expectFailure(await remove({ room_id: 'x' }), 400, 'BAD_REQUEST', {
      room_id: ['must be an id: 24 of the characters 0-9 and a-f'],
    })
    expectFailure(await remove({ room_id: UNKNOWN_ID }), 404, 'NOT_FOUND')
    // Another room took the place of the deleted one.
    await remove({ room_id })
    await post(CONTROL, sent)
    expectFailure(await remove({ room_id, is_active: true }), 409, 'ROOM_ALREADY_ACTIVE')
    expect(await isActive(room_id)).toBe(false)
  })
})

describe('URLs', () => {
  test('a slash at the end makes no difference', async () => {
    const sent = roomRequest()
    const withSlash = (await post('/api/v2/room-control/', sent)).body
    const without = (await post('/api/v2/room-control', sent)).body
    expect(without.inserted_id).toBe(withSlash.inserted_id)
    const query = `?type=get_room_by_id&room_id=${without.inserted_id}`
    expect(await call(`/api/v2/room-service${query}`)).toEqual(
      await call(`/api/v2/room-service/${query}`),
    )
    expect(await call(`/api/v2/room-list?org_id=${sent.org_id}`)).toEqual(
      await call(`/api/v2/room-list/?org_id=${sent.org_id}`),
    )
  })

  test('of a key that a query has twice the last one counts', async () => {
    const sent = roomRequest()
    const { inserted_id: room_id } = (await post(CONTROL, sent)).body
    const { status, body } = await call(
      `${SERVICE}?type=get_messages&room_id=${UNKNOWN_ID}&type=get_room_by_id&room_id=${room_id}`,
    )
    expect(status).toBe(200)
    expect(body.response[0]._id).toBe(room_id)
    const { body: list } = await call(`${LIST}?org_id=another&org_id=${sent.org_id}`)
    expect(list.rooms).toHaveLength(1)
  })

  test('an unknown one is answered as a failure', async () => {
    expectFailure(await call('/api/v2/rooms/'), 404, 'NOT_FOUND')
    expectFailure(await call(`${SERVICE}/?type=get_messages`), 404, 'NOT_FOUND')
    expectFailure(await call(`${LIST}?org_id=${'x'.repeat(9_000)}`), 414, 'URI_TOO_LONG')
  })
})

describe('bodies', () => {
  const kinds: [string, (fields: Record<string, string>) => RequestInit][] = [
    ['application/json', (fields) => typed('application/json', JSON.stringify(fields))],
    [
      'application/json; charset=utf-8',
      (fields) => typed('application/json; charset=utf-8', JSON.stringify(fields)),
    ],
    [
      'application/json;charset="UTF-8"',
      (fields) => typed('application/json;charset="UTF-8"', JSON.stringify(fields)),
    ],
    ['Application/JSON', (fields) => typed('Application/JSON', JSON.stringify(fields))],
    [
      'application/x-www-form-urlencoded',
      (fields) =>
        typed('application/x-www-form-urlencoded', new URLSearchParams(fields).toString()),
    ],
    [
      'application/x-www-form-urlencoded; charset=UTF-8',
      (fields) =>
        typed(
          'application/x-www-form-urlencoded; charset=UTF-8',
          new URLSearchParams(fields).toString(),
        ),
    ],
    ['multipart/form-data', (fields) => ({ method: 'POST', body: multipart(fields) })],
    [
      'multipart/form-data; charset=utf-8',
      (fields) => {
        const parts = Object.entries(fields).map(
          ([key, value]) =>
            `--b\r\nContent-Disposition: form-data; name="${key}"\r\n\r\n${value}\r\n`,
        )
        return typed('multipart/form-data; charset=utf-8; boundary=b', `${parts.join('')}--b--\r\n`)
      },
    ],
  ]

  function typed(type: string, body: string): RequestInit {
    return { method: 'POST', headers: { 'Content-Type': type }, body }
  }

  test.each(kinds)('%s is read, whatever is written in it', async (_, bodyOf) => {
    const user_id = 'Zoë & 张伟=50% + 🙂'
    const opened = await call(CONTROL, bodyOf(texts(roomRequest({ user_id }))))
    expect(opened.status).toBe(200)
    expect(opened.body.response.user_id).toBe(user_id)
    const room_id = opened.body.inserted_id
    // Browsers send a line's end in a multipart form as CR LF, so that is what stays the same everywhere.
    const message_data = 'one\r\ntwo "three" \\ 🙂'
    const sent = await call(
      SERVICE,
      bodyOf(texts(messageRequest(room_id, { message_data, side: 'false' }))),
    )
    expect(sent.status).toBe(200)
    expect((await messagesOf(room_id))[0]).toMatchObject({ message_data, side: false })
  })

  test('a field that a form has twice counts as it was sent last', async () => {
    const room_id = await openRoom()
    const pairs = Object.entries(texts(messageRequest(room_id)))
    const body = new URLSearchParams([['type', 'sing'], ...pairs, ['message_data', 'last']])
    expect((await call(SERVICE, { method: 'POST', body })).status).toBe(200)
    expect((await messagesOf(room_id))[0].message_data).toBe('last')
  })

  test.each([
    ['text/plain', 'user_id', 415, 'UNSUPPORTED_MEDIA_TYPE'],
    ['application/xml', '<room/>', 415, 'UNSUPPORTED_MEDIA_TYPE'],
    ['application/json', '{"user_id":', 400, 'PARSE_ERROR'],
    ['application/json', '[]', 400, 'PARSE_ERROR'],
    ['application/json', 'null', 400, 'PARSE_ERROR'],
    ['multipart/form-data', 'no boundary', 400, 'PARSE_ERROR'],
    ['application/json', JSON.stringify('x'.repeat(300_000)), 413, 'PAYLOAD_TOO_LARGE'],
  ])('%s that cannot be taken is refused (%#)', async (type, body, status, code) => {
    expectFailure(await call(CONTROL, typed(type, body)), status, code)
  })

  test('none at all names every field that is missing', async () => {
    expectFailure(await call(CONTROL, { method: 'POST' }), 400, 'BAD_REQUEST', {
      user_id: ['is required'],
      org_id: ['is required'],
      portfolio_name: ['is required'],
      product_name: ['is required'],
    })
  })
})

describe('room-list', () => {
  test('has the rooms of all products when product_name is left out, oldest first', async () => {
    const org_id = `org-${randomUUID()}`
    const products = ['WIFIQRCODE', 'LOGIN', 'WIFIQRCODE']
    const opened: string[] = []
    for (const [index, product_name] of products.entries()) {
      opened.push(await openRoom({ org_id, product_name, user_id: `user ${index}` }))
    }
    const listed = async (query: Record<string, string>) =>
      (await get(LIST, { org_id, ...query })).body.rooms.map((room: Body) => room._id)
    expect(await listed({})).toEqual(opened)
    expect(await listed({ product_name: 'LOGIN' })).toEqual([opened[1]])
    expect(await listed({ product_name: 'DOWELLMAIL' })).toEqual([])
  })

  test('wants an organisation', async () => {
    expectFailure(await call(LIST), 400, 'BAD_REQUEST', { org_id: ['is required'] })
    expectFailure(await call(`${LIST}?org_id=`), 400, 'BAD_REQUEST', {
      org_id: ['must not be empty'],
    })
  })
})

describe('a deleted room', () => {
  test('stays listed and readable, and takes no new messages', async () => {
    const sent = roomRequest()
    const room_id = (await post(CONTROL, sent)).body.inserted_id
    await post(SERVICE, messageRequest(room_id, { message_data: 'before' }))
    await post(SERVICE, { type: 'delete_room', room_id })

    const { rooms } = (await get(LIST, { org_id: sent.org_id as string })).body
    expect(rooms).toMatchObject([{ _id: room_id, is_active: false }])
    expect(await isActive(room_id)).toBe(false)
    expectFailure(await post(SERVICE, messageRequest(room_id)), 409, 'ROOM_CLOSED')
    const messages = await messagesOf(room_id)
    // The message itself is not deleted.
    expect(messages).toMatchObject([{ message_data: 'before', is_active: true }])
  })
})

describe('type', () => {
  test.each([
    ['POST', { type: 'sing' }],
    ['POST', { type: '' }],
    ['POST', {}],
    ['POST', { type: 'CREATE_MESSAGE' }],
    ['POST', { type: ['create_message'] }],
    ['GET', { type: 'sing' }],
    ['GET', {}],
    ['DELETE', { type: 'sing' }],
  ])('%s of %j is refused', async (method, fields) => {
    const answer = await sendBody(method, SERVICE, fields)
    expectFailure(answer, 400, 'INVALID_REQUEST_TYPE', { type: [expect.any(String)] })
    expect(answer.body.message).toBe('Invalid request type')
  })

  test.each([
    ['POST', 'get_messages', 'GET, HEAD, OPTIONS'],
    ['GET', 'create_message', 'POST, OPTIONS'],
    ['DELETE', 'create_message', 'POST, OPTIONS'],
    ['PUT', 'create_message', 'POST, GET, DELETE, HEAD, OPTIONS'],
  ])('%s is no way to %s', async (method, type, allow) => {
    const response = await app.fetch(`${SERVICE}?type=${type}`, { method })
    expect(response.headers.get('allow')).toBe(allow)
    const answer = { status: response.status, body: await response.json() }
    expectFailure(answer, 405, 'METHOD_NOT_ALLOWED')
  })
})

describe('failures', () => {
  test('are never 200, and have an id that is in the header and in the log', async () => {
    const response = await app.fetch(SERVICE, json({ type: 'get_room_by_id' }))
    const body = (await response.json()) as { requestId: string }
    expect(response.status).toBe(405)
    expect(response.headers.get('x-request-id')).toBe(body.requestId)
    await expect
      .poll(() => app.log)
      .toContainEqual(
        expect.objectContaining({ req: expect.objectContaining({ id: body.requestId }) }),
      )
  })

  test('of a room that there is not are 404, whatever is asked', async () => {
    const room_id = UNKNOWN_ID
    for (const type of ['get_messages', 'get_room_by_id', 'delete_room']) {
      expectFailure(await get(SERVICE, { type, room_id }), 404, 'NOT_FOUND')
    }
    expectFailure(await post(SERVICE, messageRequest(room_id)), 404, 'NOT_FOUND')
  })

  test('of one field bear its documented name', async () => {
    const room_id = await openRoom()
    const long = messageRequest(room_id, { message_data: 'x'.repeat(16_001) })
    expectFailure(await post(SERVICE, long), 400, 'BAD_REQUEST', {
      message_data: ['must have at most 16000 characters'],
    })
    const limit = await get(SERVICE, { type: 'get_messages', room_id, limit: '1001' })
    expectFailure(limit, 400, 'BAD_REQUEST', {
      limit: ['must be a whole number from 1 to 1000'],
    })
  })
})

describe('messages', () => {
  test('come oldest first, and pages of them join without a gap', async () => {
    const room_id = await openRoom()
    const sent = Array.from({ length: 7 }, (_, index) => `message ${index + 1}`)
    for (const message_data of sent) await post(SERVICE, messageRequest(room_id, { message_data }))
    const page = async (query: Record<string, string>) => {
      const { body } = await get(SERVICE, { type: 'get_messages', room_id, ...query })
      return { texts: body.response.map((each: Body) => each.message_data), paging: body.paging }
    }

    const all = await page({})
    expect(all.texts).toEqual(sent)
    expect(all.paging).toMatchObject({ limit: 1000, has_before: false, has_after: false })

    const newest = await page({ limit: '3' })
    expect(newest.texts).toEqual(sent.slice(4))
    expect(newest.paging).toMatchObject({ limit: 3, has_before: true, has_after: false })
    const earlier = await page({ limit: '3', before: newest.paging.before })
    expect(earlier.texts).toEqual(sent.slice(1, 4))
    const first = await page({ limit: '3', before: earlier.paging.before })
    expect(first.texts).toEqual(sent.slice(0, 1))
    expect(first.paging).toMatchObject({ has_before: false, has_after: true })
    const next = await page({ limit: '2', after: first.paging.after })
    expect(next.texts).toEqual(sent.slice(1, 3))

    // The end of the room is a place to go on from later.
    expect((await page({ after: all.paging.after })).texts).toEqual([])
    await post(SERVICE, messageRequest(room_id, { message_data: 'later' }))
    expect((await page({ after: all.paging.after })).texts).toEqual(['later'])
  })

  test('are paged from one place only, by cursors of the same list', async () => {
    const sent = roomRequest()
    const room_id = (await post(CONTROL, sent)).body.inserted_id
    await post(SERVICE, messageRequest(room_id))
    const { paging } = (await get(SERVICE, { type: 'get_messages', room_id })).body
    const { before, after } = paging
    const both = await get(SERVICE, { type: 'get_messages', room_id, before, after })
    expectFailure(both, 400, 'BAD_REQUEST', { after: ['cannot be given together with before'] })
    const org_id = sent.org_id as string
    expectFailure(await get(LIST, { org_id, before }), 400, 'BAD_REQUEST', {
      before: ['is not a cursor that this list gave'],
    })
  })

  test('are the latest 1,000 without a limit, which the answer says', async () => {
    const room_id = await openRoom()
    // 20 at a time. Of 1,000 at once the last wait longer for a connection to PostgreSQL than a request may.
    const senders = Array.from({ length: 20 }, async (_, sender) => {
      for (let n = sender; n < 1_002; n += 20) await post(SERVICE, messageRequest(room_id))
    })
    await Promise.all(senders)
    const { body } = await get(SERVICE, { type: 'get_messages', room_id })
    expect(body.response.map((message: Body) => message.seq)).toEqual(
      Array.from({ length: 1_000 }, (_, index) => index + 3),
    )
    expect(body.paging).toMatchObject({ limit: 1000, has_before: true, has_after: false })
    const rest = await messagesOf(room_id, { before: body.paging.before })
    expect(rest.map((message) => message.seq)).toEqual([1, 2])
  })
})

describe('rooms', () => {
  test('are paged as messages are', async () => {
    const org_id = `org-${randomUUID()}`
    const opened: string[] = []
    for (const user_id of ['one', 'two', 'three']) opened.push(await openRoom({ org_id, user_id }))
    const page = async (query: Record<string, string>) => {
      const { body } = await get(LIST, { org_id, ...query })
      return { ids: body.rooms.map((room: Body) => room._id), paging: body.paging }
    }
    const newest = await page({ limit: '2' })
    expect(newest.ids).toEqual(opened.slice(1))
    expect(newest.paging).toMatchObject({ limit: 2, has_before: true, has_after: false })
    const earlier = await page({ limit: '2', before: newest.paging.before })
    expect(earlier.ids).toEqual(opened.slice(0, 1))
    expect(earlier.paging).toMatchObject({ has_before: false, has_after: true })
    expect((await page({ after: earlier.paging.after })).ids).toEqual(opened.slice(1))
  })
})
