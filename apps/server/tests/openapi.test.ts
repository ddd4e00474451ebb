import { readFile } from 'node:fs/promises'
import { callNames, operationNamed, operationNames } from '@dowell-chat/api'
import { openDatabase } from '@dowell-chat/db'
import { createConfig, lintFromString } from '@redocly/openapi-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type CheckedApp,
  Conformance,
  createCheckedApp,
  type DocumentedOperation,
  type Json,
  type OpenApi,
} from './conformance.ts'
import { bearer, createKey } from './credentials.ts'
import { ask } from './database.ts'
import { createTestApp, documentedRoom, json, openRoom, type TestApp } from './support.ts'

let app: TestApp
let checked: CheckedApp

beforeAll(async () => {
  app = await createTestApp()
  checked = await createCheckedApp(app)
})
afterAll(() => app[Symbol.asyncDispose]())

const files = [
  { served: '/openapi.json', committed: 'openapi.json', version: '3.1.0' },
  { served: '/openapi-3.0.json', committed: 'openapi-3.0.json', version: '3.0.3' },
]

describe.each(files)('the document at $served', ({ served, committed, version }) => {
  async function read(): Promise<{ text: string; document: OpenApi }> {
    const response = await app.fetch(served)
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8')
    const text = await response.text()
    return { text, document: JSON.parse(text) }
  }

  test(`is OpenAPI ${version}, and the committed file`, async () => {
    const { text, document } = await read()
    expect(document.openapi).toBe(version)
    const file = new URL(`../../../packages/api/openapi/${committed}`, import.meta.url)
    expect(text, 'renew it with: npm run build').toBe(await readFile(file, 'utf8'))
  })

  test('passes a strict linter', async () => {
    const { text } = await read()
    const config = await createConfig({
      extends: ['recommended-strict'],
      // The documented URLs of v2 end in a slash, and are written here as they were documented.
      rules: { 'no-path-trailing-slash': 'off' },
    })
    const problems = await lintFromString({ source: text, absoluteRef: committed, config })
    expect(problems.map(({ ruleId, message }) => `${ruleId}: ${message}`)).toEqual([])
  })

  test('names each operation once, with its own name in v3', async () => {
    const { document } = await read()
    const ids = operationsOf(document).map(({ operation }) => operation.operationId)
    expect(new Set(ids).size).toBe(ids.length)
    expect(ids.filter((id) => !id.includes('V2')).sort()).toEqual(operationNames.toSorted())
  })

  test('names the way without a credential first, which Postman takes', async () => {
    const { document } = await read()
    expect(document.security).toEqual([{}, { bearer: [] }])
  })

  test('requires a body only where a field is required', async () => {
    const { document } = await read()
    for (const { operation } of operationsOf(document)) {
      const body = operation.requestBody as unknown as
        | { required: boolean; content: Record<string, { schema: { $ref: string } }> }
        | undefined
      if (!body) continue
      const $ref = body.content['application/json']?.schema.$ref as string
      const schema = document.components.schemas[$ref.split('/').at(-1) as string] as {
        required?: string[]
        oneOf?: unknown
      }
      const needsField = schema.oneOf !== undefined || (schema.required ?? []).length > 0
      expect(body.required, operation.operationId).toBe(needsField)
    }
  })

  // A generator such as openapi-typescript takes a field with a default for one that is always there.
  test('has no default in a request body, and says it in words', async () => {
    const { text, document } = await read()
    expect(text).not.toContain('"default":')
    const { messageType } = (
      document.components.schemas.CreateMessageRequest as unknown as {
        properties: Record<string, { description: string }>
      }
    ).properties
    expect(messageType?.description).toContain('Default: text.')
  })

  test('says in milliseconds too when something expires, for clients with a wrong clock', async () => {
    const { document } = await read()
    const expiring = Object.entries(document.components.schemas).filter(([, schema]) =>
      Object.keys((schema as { properties?: object }).properties ?? {}).includes('expiresAt'),
    )
    expect(expiring.length).toBeGreaterThan(3)
    for (const [name, schema] of expiring) expect(schema.required, name).toContain('expiresInMs')
  })

  test('requires a credential where the access table rejects open mode', async () => {
    const { document } = await read()
    const needKey = operationsOf(document).filter(
      ({ operation }) =>
        !(operation.security ?? document.security).some((one) => !('bearer' in one)),
    )
    const closed = operationNames.filter((name) => operationNamed(name).access.open === 'none')
    expect(needKey.map(({ operation }) => operation.operationId).sort()).toEqual(closed.toSorted())
  })

  test('gives every operation examples that match its schemas', async () => {
    const { document } = await read()
    const conformance = new Conformance(document)
    for (const { name, operation } of operationsOf(document)) {
      const requests = requestExamples(operation)
      expect(requests.length, `${name} shows no request`).toBeGreaterThan(0)
      for (const { schema, value } of requests) {
        conformance.validate(`a request of ${name}`, schema, value)
      }
      for (const [status, { content = {} }] of Object.entries(operation.responses)) {
        const examples = Object.values(content).flatMap(examplesOf)
        if (status === '304') continue
        expect(examples.length, `${name} shows no ${status}`).toBeGreaterThan(0)
        for (const { schema, value } of examples) {
          conformance.validate(`a ${status} of ${name}`, schema, value)
        }
      }
    }
  })

  test('describes every parameter', async () => {
    const { document } = await read()
    const silent = operationsOf(document).flatMap(({ name, operation }) =>
      (operation.parameters ?? [])
        .filter(({ description }) => !description)
        .map((parameter) => `${name}: ${parameter.name}`),
    )
    expect(silent).toEqual([])
  })

  test('documents the errors of every operation with one of its own fields', async () => {
    const { document } = await read()
    for (const { name, operation } of operationsOf(document)) {
      const statuses = Object.keys(operation.responses)
      expect(statuses, name).toEqual(expect.arrayContaining(['400', '500', '503']))
      const media = operation.responses[400]?.content?.['application/json']
      const example = media?.examples?.BAD_REQUEST?.value as { errors: Json } | undefined
      const wrong = Object.keys(example?.errors ?? {})
      expect(wrong, name).toHaveLength(1)
      const fields = fieldsOf(document, operation)
      if (fields.length > 0) expect(fields, name).toEqual(expect.arrayContaining(wrong))
      else expect(Object.values(example?.errors ?? {}), name).toEqual([['is not a known key']])
    }
  })

  test('distinguishes a response that created something from one that did not', async () => {
    const { document } = await read()
    const exampleOf = (path: string, status: number) =>
      document.paths[path]?.post?.responses[status]?.content?.['application/json']?.example
    expect(exampleOf('/api/v3/rooms', 201)).toMatchObject({ created: true })
    expect(exampleOf('/api/v3/rooms', 200)).toMatchObject({ created: false })
    const messages = '/api/v3/rooms/{roomId}/messages'
    expect(exampleOf(messages, 201)).toMatchObject({ replayed: false })
    expect(exampleOf(messages, 200)).toMatchObject({
      replayed: true,
      // Only a message with an id of its own can be answered again.
      message: { clientMessageId: expect.any(String) },
    })
  })

  test('writes "or null" as client generators understand it', async () => {
    const { document } = await read()
    const { schemas } = document.components as unknown as {
      schemas: Record<string, { properties: Record<string, Json> }>
    }
    const orNull =
      version === '3.1.0' ? { type: ['string', 'null'] } : { type: 'string', nullable: true }
    const time = { ...orNull, format: 'date-time' }
    expect(schemas.Message?.properties).toMatchObject({ clientMessageId: orNull, editedAt: time })
    const subject = { ...orNull, minLength: 1, maxLength: 200 }
    expect(schemas.UpdateRoomRequest?.properties).toMatchObject({ subject })
    const alternatives = everyObject(document).flatMap(({ anyOf, oneOf }) => anyOf ?? oneOf ?? [])
    expect(alternatives).not.toContainEqual({ type: 'null' })
    const lastMessage = schemas.Room?.properties.lastMessage
    const reference = { $ref: '#/components/schemas/LastMessage' }
    expect(lastMessage).toMatchObject(version === '3.1.0' ? reference : { allOf: [reference] })
    expect(schemas.LastMessage).toMatchObject(
      version === '3.1.0' ? { type: ['object', 'null'] } : { type: 'object', nullable: true },
    )
  })
})

/** A call, and how the document's operation answers it. */
interface Case {
  readonly operation: string
  readonly path: string
  readonly init?: RequestInit
  /** The status, and the code of an error. */
  readonly answer: `${number}${'' | ` ${string}`}`
}

const unknownId = 'ffffffffffffffffffffffff'
const tooLarge = 'x'.repeat(300_000)
const tooLong = 'x'.repeat(9_000)
const xml = { method: 'POST', headers: { 'Content-Type': 'application/xml' }, body: '<room/>' }
const broken = { ...xml, headers: { 'Content-Type': 'application/json' }, body: '{' }

/** Every documented answer that a caller can bring about, for rooms of an organisation of its own. */
async function cases(): Promise<Case[]> {
  const orgId = 'every-answer'
  const active = await openRoom(app, 'active', orgId)
  // A deleted room in whose place there is another one: it takes no messages, and cannot be restored.
  const closed = await openRoom(app, 'closed', orgId)
  const message = { messageData: 'message', side: true, author: 'client' }
  const v3 = '/api/v3/rooms'
  const write = async (roomId: string) => {
    const response = await app.fetch(`${v3}/${roomId}/messages`, json(message))
    const { id } = ((await response.json()) as { message: { id: string } }).message
    return `${v3}/${roomId}/messages/${id}`
  }
  const [edited, deleted] = [await write(active), await write(active)]
  const closedMessage = await write(closed)
  await app.fetch(`${v3}/${closed}`, { method: 'DELETE' })
  await openRoom(app, 'closed', orgId)

  const clientMessageId = 'every-answer-0001'
  const messageV2 = { message_data: 'message', side: true, auther: 'client' }
  const reader = { readerId: 'client', readerSide: false }
  const person = { userId: 'client', side: false }
  const room = { userId: 'new', orgId, portfolioName: 'umair', productName: 'LOGIN' }
  const roomV2 = { ...documentedRoom, org_id: orgId }
  const control = '/api/v2/room-control/'
  const service = '/api/v2/room-service/'
  const list = '/api/v2/room-list/'

  const group = (operation: string, answers: [Case['answer'], string, RequestInit?][]): Case[] =>
    answers.map(([answer, path, init]) => ({ operation, path, answer, ...(init && { init }) }))
  const withBody = (path: string, method = 'POST'): [Case['answer'], string, RequestInit][] => [
    ['400 PARSE_ERROR', path, { ...broken, method }],
    ['413 PAYLOAD_TOO_LARGE', path, json({ messageData: tooLarge }, method)],
    ['415 UNSUPPORTED_MEDIA_TYPE', path, { ...xml, method }],
  ]
  const DELETE = { method: 'DELETE' }
  const stale = (init: RequestInit): RequestInit => ({
    ...init,
    headers: { ...init.headers, 'If-Match': '"stale"' },
  })
  const log = '/api/v3/event-log'
  const forgotten = await forgetFirstEvent(orgId)
  const edit = json({ messageData: 'edited' }, 'PATCH')

  return [
    ...group('createRoom', [
      ['201', v3, json(room)],
      ['200', v3, json(room)],
      ['400 BAD_REQUEST', v3, json({})],
      ...withBody(v3),
    ]),
    ...group('listRooms', [
      ['200', `${v3}?orgId=${orgId}`],
      ['200', `${v3}?orgId=${orgId}&productName=WIFIQRCODE&limit=1`],
      ['200', `${v3}?orgId=${orgId}&status=open&status=pending&assignee=`],
      ['200', `${v3}?orgId=${orgId}&readerId=client&readerSide=true`],
      ['400 BAD_REQUEST', `${v3}?orgId=${orgId}&limit=0`],
      ['400 BAD_REQUEST', `${v3}?orgId=${orgId}&status=lost`],
      ['409 CURSOR_TOO_OLD', `${v3}?orgId=${orgId}&after=cjox.other`],
      ['414 URI_TOO_LONG', `${v3}?orgId=${tooLong}`],
    ]),
    ...group('getRoomById', [
      ['200', `${v3}/${active}`],
      ['200', `${v3}/${closed}`],
      ['400 BAD_REQUEST', `${v3}/not-an-id`],
      ['404 NOT_FOUND', `${v3}/${unknownId}`],
    ]),
    ...group('updateRoom', [
      ['200', `${v3}/${active}`, json({ subject: null, labels: ['new'], custom: {} }, 'PATCH')],
      ['400 BAD_REQUEST', `${v3}/${active}`, json({ status: 'lost' }, 'PATCH')],
      ['404 NOT_FOUND', `${v3}/${unknownId}`, json({ status: 'open' }, 'PATCH')],
      ['412 PRECONDITION_FAILED', `${v3}/${active}`, stale(json({ status: 'open' }, 'PATCH'))],
      ...withBody(`${v3}/${active}`, 'PATCH'),
    ]),
    ...group('updateMessage', [
      ['200', edited, edit],
      ['400 BAD_REQUEST', edited, json({}, 'PATCH')],
      ['404 NOT_FOUND', `${v3}/${active}/messages/${unknownId}`, edit],
      ['409 ROOM_CLOSED', closedMessage, edit],
      ['412 PRECONDITION_FAILED', edited, stale(edit)],
      ...withBody(edited, 'PATCH'),
    ]),
    ...group('getMessage', [
      ['200', edited],
      ['400 BAD_REQUEST', `${v3}/${active}/messages/x`],
      ['404 NOT_FOUND', `${v3}/${active}/messages/${unknownId}`],
    ]),
    ...group('deleteMessage', [
      ['412 PRECONDITION_FAILED', deleted, stale(DELETE)],
      ['414 URI_TOO_LONG', `${deleted}?ifVersion=${tooLong}`, DELETE],
      ['200', deleted, DELETE],
      ['400 BAD_REQUEST', `${v3}/${active}/messages/x`, DELETE],
      ['404 NOT_FOUND', `${v3}/${active}/messages/${unknownId}`, DELETE],
    ]),
    ...group('updateMessage', [['409 MESSAGE_DELETED', deleted, edit]]),
    ...group('createMessage', [
      ['201', `${v3}/${active}/messages`, json(message)],
      ['201', `${v3}/${active}/messages`, json({ ...message, clientMessageId })],
      ['200', `${v3}/${active}/messages`, json({ ...message, clientMessageId })],
      [
        '409 IDEMPOTENCY_CONFLICT',
        `${v3}/${active}/messages`,
        json({ ...message, messageData: 'another', clientMessageId }),
      ],
      ['409 ROOM_CLOSED', `${v3}/${closed}/messages`, json(message)],
      ['404 NOT_FOUND', `${v3}/${unknownId}/messages`, json(message)],
      ['400 BAD_REQUEST', `${v3}/${active}/messages`, json({})],
      ...withBody(`${v3}/${active}/messages`),
    ]),
    ...group('getMessages', [
      ['200', `${v3}/${active}/messages`],
      ['200', `${v3}/${closed}/messages`],
      ['400 BAD_REQUEST', `${v3}/${active}/messages?before=x`],
      ['409 CURSOR_TOO_OLD', `${v3}/${active}/messages?after=bTox.other`],
      ['404 NOT_FOUND', `${v3}/${unknownId}/messages`],
      ['414 URI_TOO_LONG', `${v3}/${active}/messages?after=${tooLong}`],
    ]),
    ...group('getRoomSnapshot', [
      ['200', `${v3}/${active}/snapshot`],
      ['200', `${v3}/${closed}/snapshot?limit=1&readerId=client&readerSide=false`],
      ['400 BAD_REQUEST', `${v3}/${active}/snapshot?readerId=client`],
      ['404 NOT_FOUND', `${v3}/${unknownId}/snapshot`],
      ['414 URI_TOO_LONG', `${v3}/${active}/snapshot?readerId=${tooLong}`],
    ]),
    ...group('markRead', [
      ['200', `${v3}/${active}/read-marker`, json({ seq: 1, ...reader }, 'PUT')],
      ['200', `${v3}/${closed}/read-marker`, json({ seq: 1, ...reader }, 'PUT')],
      ['400 BAD_REQUEST', `${v3}/${active}/read-marker`, json({ seq: 1 }, 'PUT')],
      ['404 NOT_FOUND', `${v3}/${unknownId}/read-marker`, json({ seq: 1, ...reader }, 'PUT')],
      ...withBody(`${v3}/${active}/read-marker`, 'PUT'),
    ]),
    ...group('setTyping', [
      ['200', `${v3}/${active}/typing`, json({ isTyping: true, ...person })],
      ['200', `${v3}/${active}/typing`, json({ isTyping: false, ...person })],
      ['400 BAD_REQUEST', `${v3}/${active}/typing`, json({ isTyping: true })],
      ['404 NOT_FOUND', `${v3}/${unknownId}/typing`, json({ isTyping: true, ...person })],
      ['409 ROOM_CLOSED', `${v3}/${closed}/typing`, json({ isTyping: true, ...person })],
      ...withBody(`${v3}/${active}/typing`),
    ]),
    ...group('deleteRoom', [
      ['412 PRECONDITION_FAILED', `${v3}/${active}`, stale(DELETE)],
      ['200', `${v3}/${active}?isActive=true`, DELETE],
      ['400 BAD_REQUEST', `${v3}/${active}?isActive=perhaps`, DELETE],
      ['404 NOT_FOUND', `${v3}/${unknownId}`, DELETE],
      ['409 ROOM_ALREADY_ACTIVE', `${v3}/${closed}?isActive=true`, DELETE],
      ['414 URI_TOO_LONG', `${v3}/${active}?isActive=${tooLong}`, DELETE],
    ]),
    ...group('onRoomEvents', [
      ['200', `${v3}/${active}/events`],
      ['400 BAD_REQUEST', `${v3}/${active}/events?side=perhaps`],
      ['404 NOT_FOUND', `${v3}/${unknownId}/events`],
      ['414 URI_TOO_LONG', `${v3}/${active}/events?after=${tooLong}`],
    ]),
    ...group('onInboxEvents', [
      ['200', `/api/v3/events?orgId=${orgId}&roomIds=${active},${closed}`],
      ['400 BAD_REQUEST', '/api/v3/events'],
      ['414 URI_TOO_LONG', `/api/v3/events?orgId=${tooLong}`],
    ]),
    ...group('onUserEvents', [
      ['200', `/api/v3/users/active/events?orgId=${orgId}&after=from-nowhere`],
      ['400 BAD_REQUEST', '/api/v3/users/active/events'],
      ['414 URI_TOO_LONG', `/api/v3/users/active/events?orgId=${tooLong}`],
    ]),
    ...group('listEvents', [
      ['200', `${log}?orgId=${orgId}`],
      ['200', `${log}?orgId=${orgId}&roomId=${active}&limit=1`],
      ['400 BAD_REQUEST', `${log}?orgId=${orgId}&after=x`],
      ['409 CURSOR_TOO_OLD', `${log}?orgId=${orgId}&after=${forgotten}`],
      ['414 URI_TOO_LONG', `${log}?orgId=${tooLong}`],
    ]),
    ...group('createRoomV2', [
      ['200', control, json(roomV2)],
      ['200', control, json(roomV2)],
      ['400 BAD_REQUEST', control, json({})],
      ...withBody(control),
    ]),
    ...group('postRoomServiceV2', [
      ['200', service, json({ type: 'create_message', room_id: active, ...messageV2 })],
      ['200', service, json({ type: 'delete_room', room_id: active, is_active: true })],
      ['400 BAD_REQUEST', service, json({ type: 'create_message' })],
      ['400 INVALID_REQUEST_TYPE', service, json({ type: 'sing' })],
      ['404 NOT_FOUND', service, json({ type: 'delete_room', room_id: unknownId })],
      ['405 METHOD_NOT_ALLOWED', service, json({ type: 'get_messages', room_id: active })],
      [
        '409 IDEMPOTENCY_CONFLICT',
        service,
        json({
          type: 'create_message',
          room_id: active,
          ...messageV2,
          message_data: 'another',
          client_message_id: clientMessageId,
        }),
      ],
      ['409 ROOM_CLOSED', service, json({ type: 'create_message', room_id: closed, ...messageV2 })],
      [
        '409 ROOM_ALREADY_ACTIVE',
        service,
        json({ type: 'delete_room', room_id: closed, is_active: true }),
      ],
      ...withBody(service),
    ]),
    ...group('getRoomServiceV2', [
      ['200', `${service}?type=get_messages&room_id=${active}`],
      ['200', `${service}?type=get_messages&room_id=${closed}&limit=5`],
      ['200', `${service}?type=get_room_by_id&room_id=${active}`],
      ['200', `${service}?type=delete_room&room_id=${closed}`],
      ['400 BAD_REQUEST', `${service}?type=get_messages`],
      ['400 INVALID_REQUEST_TYPE', `${service}?type=sing`],
      ['404 NOT_FOUND', `${service}?type=get_messages&room_id=${unknownId}`],
      ['405 METHOD_NOT_ALLOWED', `${service}?type=create_message&room_id=${active}`],
      ['409 CURSOR_TOO_OLD', `${service}?type=get_messages&room_id=${active}&after=bTox.other`],
      ['409 ROOM_ALREADY_ACTIVE', `${service}?type=delete_room&room_id=${closed}&is_active=true`],
      ['414 URI_TOO_LONG', `${service}?type=get_messages&room_id=${tooLong}`],
    ]),
    ...group('deleteRoomServiceV2', [
      ['200', `${service}?room_id=${closed}`, DELETE],
      ['200', `${service}?type=delete_room&room_id=${closed}`, DELETE],
      ['400 BAD_REQUEST', `${service}?type=delete_room`, DELETE],
      ['400 INVALID_REQUEST_TYPE', `${service}?type=sing`, DELETE],
      ['404 NOT_FOUND', `${service}?room_id=${unknownId}`, DELETE],
      ['405 METHOD_NOT_ALLOWED', `${service}?type=get_messages&room_id=${active}`, DELETE],
      ['409 ROOM_ALREADY_ACTIVE', `${service}?room_id=${closed}&is_active=true`, DELETE],
      ['414 URI_TOO_LONG', `${service}?room_id=${tooLong}`, DELETE],
    ]),
    ...group('listRoomsV2', [
      ['200', `${list}?org_id=${orgId}`],
      ['200', `${list}?org_id=nobody&product_name=LOGIN`],
      ['400 BAD_REQUEST', list],
      ['409 CURSOR_TOO_OLD', `${list}?org_id=${orgId}&after=cjox.other`],
      ['414 URI_TOO_LONG', `${list}?org_id=${tooLong}`],
    ]),
  ]
}

/** Takes the first event out of an organisation's log, as retention does. @returns a cursor that lies before it */
async function forgetFirstEvent(orgId: string): Promise<string> {
  const response = await app.fetch(`/api/v3/event-log?orgId=${orgId}&limit=1`)
  const { items } = (await response.json()) as { items: { position: number; cursor: string }[] }
  await ask(app, 'delete from events where org_id = ? and position <= 2', orgId)
  return items[0]?.cursor as string
}

describe('the running server', () => {
  test('the server gives every documented response and no other', async () => {
    const all = await cases()
    for (const { operation, path, init, answer } of all) {
      const { status, body } = await checked.fetch(path, init)
      const got = status >= 400 ? `${status} ${body.code}` : `${status}`
      expect(`${operation} ${got}`, `${path}\n${JSON.stringify(body)}`).toBe(
        `${operation} ${answer}`,
      )
    }

    await managing()
    await strangers(all)
    // What needs a database that fails, too.
    await failingDatabase(all)
    await busyDatabase(all)
    await crowd(all)

    for (const [index, conformance] of checked.conformances.entries()) {
      const documented = operationsOf(checked.documents[index] as OpenApi).flatMap(
        ({ operation }) => documentedAnswers(operation),
      )
      const unmet = documented.filter((answer) => !conformance.met.has(answer))
      // A read does not wait for a write, and typing is not stored.
      const queries = callNames.filter((name) => operationNamed(name).kind === 'query')
      const unwritten = [...queries, 'sendHeartbeat', 'setTyping', 'listRoomsV2']
      expect(
        unmet.toSorted(),
        'cases() in openapi.test.ts calls every documented operation',
      ).toEqual(unwritten.map((name) => `${name} 503 SERVICE_UNAVAILABLE`).toSorted())
    }
  })

  /** Sends what would succeed elsewhere to a server of its own. */
  async function sendAll(
    all: Case[],
    other: TestApp,
    headers: Record<string, string> = {},
    others: Case[] = ownCases,
  ): Promise<Set<number>> {
    const revoking: Case = {
      operation: 'revokeApiKey',
      path: `${v3Keys}/${unknownId}`,
      init: { method: 'DELETE' },
      answer: '200',
    }
    const calls = [...all, ...keyCases, ...others, revoking].filter(({ answer }) =>
      answer.startsWith('20'),
    )
    const answers = await Promise.all(
      calls.map(({ path, init }) =>
        checked.fetch(path, { ...init, headers: { ...init?.headers, ...headers } }, other),
      ),
    )
    return new Set(answers.map(({ status }) => status))
  }

  const v3Keys = '/api/v3/api-keys'
  const v3Tokens = '/api/v3/user-tokens'
  const v3Audit = '/api/v3/audit-events'
  const v3Streams = '/api/v3/stream-tokens'
  const orgId = 'managed'
  const v3Organisation = `/api/v3/organisations/${orgId}`
  const token = { orgId, userId: 'someone', side: false }

  /** What an admin key does; apart from the others because the first key ends open mode. */
  const keyCases: Case[] = [
    {
      operation: 'createApiKey',
      path: v3Keys,
      init: json({ orgId, right: 'read' }),
      answer: '201',
    },
    { operation: 'createApiKey', path: v3Keys, init: json({}), answer: '400 BAD_REQUEST' },
    { operation: 'createApiKey', path: v3Keys, init: broken, answer: '400 PARSE_ERROR' },
    {
      operation: 'createApiKey',
      path: v3Keys,
      init: json({ name: tooLarge }),
      answer: '413 PAYLOAD_TOO_LARGE',
    },
    { operation: 'createApiKey', path: v3Keys, init: xml, answer: '415 UNSUPPORTED_MEDIA_TYPE' },
    { operation: 'listApiKeys', path: `${v3Keys}?orgId=${orgId}`, answer: '200' },
    {
      operation: 'listApiKeys',
      path: `${v3Keys}?orgId=${orgId}&before=x`,
      answer: '400 BAD_REQUEST',
    },
    {
      operation: 'listApiKeys',
      path: `${v3Keys}?orgId=${orgId}&before=azox.other`,
      answer: '409 CURSOR_TOO_OLD',
    },
    { operation: 'listApiKeys', path: `${v3Keys}?orgId=${tooLong}`, answer: '414 URI_TOO_LONG' },
    {
      operation: 'revokeApiKey',
      path: `${v3Keys}/not-an-id`,
      init: { method: 'DELETE' },
      answer: '400 BAD_REQUEST',
    },
    {
      operation: 'revokeApiKey',
      path: `${v3Keys}/${unknownId}`,
      init: { method: 'DELETE' },
      answer: '404 NOT_FOUND',
    },
    {
      operation: 'revokeUserTokens',
      path: `${v3Tokens}?orgId=${orgId}&userId=someone`,
      init: { method: 'DELETE' },
      answer: '200',
    },
    {
      operation: 'revokeUserTokens',
      path: `${v3Tokens}?orgId=${orgId}`,
      init: { method: 'DELETE' },
      answer: '400 BAD_REQUEST',
    },
    {
      operation: 'revokeUserTokens',
      path: `${v3Tokens}?orgId=${tooLong}`,
      init: { method: 'DELETE' },
      answer: '414 URI_TOO_LONG',
    },
    { operation: 'createUserToken', path: v3Tokens, init: json(token), answer: '201' },
    {
      operation: 'createUserToken',
      path: v3Tokens,
      init: json({ ...token, expiresIn: 1 }),
      answer: '400 BAD_REQUEST',
    },
    { operation: 'createUserToken', path: v3Tokens, init: broken, answer: '400 PARSE_ERROR' },
    {
      operation: 'createUserToken',
      path: v3Tokens,
      init: json({ userId: tooLarge }),
      answer: '413 PAYLOAD_TOO_LARGE',
    },
    {
      operation: 'createUserToken',
      path: v3Tokens,
      init: xml,
      answer: '415 UNSUPPORTED_MEDIA_TYPE',
    },
    { operation: 'listAuditEvents', path: `${v3Audit}?orgId=${orgId}`, answer: '200' },
    {
      operation: 'listAuditEvents',
      path: `${v3Audit}?orgId=${orgId}&before=YTox.other`,
      answer: '409 CURSOR_TOO_OLD',
    },
    {
      operation: 'listAuditEvents',
      path: `${v3Audit}?orgId=${orgId}&limit=0`,
      answer: '400 BAD_REQUEST',
    },
    {
      operation: 'listAuditEvents',
      path: `${v3Audit}?orgId=${tooLong}`,
      answer: '414 URI_TOO_LONG',
    },
    { operation: 'getOrganisation', path: v3Organisation, answer: '200' },
    { operation: 'getOrganisation', path: `${v3Organisation}?x=1`, answer: '400 BAD_REQUEST' },
    {
      operation: 'updateOrganisation',
      path: v3Organisation,
      init: json({ products: ['WIFIQRCODE'] }, 'PATCH'),
      answer: '200',
    },
    {
      operation: 'updateOrganisation',
      path: v3Organisation,
      init: json({ ifVersion: 99 }, 'PATCH'),
      answer: '412 PRECONDITION_FAILED',
    },
    {
      operation: 'updateOrganisation',
      path: v3Organisation,
      init: json({ products: [''] }, 'PATCH'),
      answer: '400 BAD_REQUEST',
    },
    {
      operation: 'updateOrganisation',
      path: v3Organisation,
      init: { ...broken, method: 'PATCH' },
      answer: '400 PARSE_ERROR',
    },
    {
      operation: 'updateOrganisation',
      path: v3Organisation,
      init: json({ products: [tooLarge] }, 'PATCH'),
      answer: '413 PAYLOAD_TOO_LARGE',
    },
    {
      operation: 'updateOrganisation',
      path: v3Organisation,
      init: { ...xml, method: 'PATCH' },
      answer: '415 UNSUPPORTED_MEDIA_TYPE',
    },
  ]

  /** What anybody may have who has anything: another organisation's key as well. */
  const ownCases: Case[] = [
    { operation: 'createStreamToken', path: v3Streams, init: json({}), answer: '201' },
    {
      operation: 'createStreamToken',
      path: v3Streams,
      init: json({ for: 'ever' }),
      answer: '400 BAD_REQUEST',
    },
    ...(
      [
        ['200', json({ streamId: 'stream-0123456789' })],
        ['400 BAD_REQUEST', json({ streamId: 'short' })],
        ['400 PARSE_ERROR', broken],
        ['413 PAYLOAD_TOO_LARGE', json({ streamId: tooLarge })],
        ['415 UNSUPPORTED_MEDIA_TYPE', xml],
      ] as const
    ).map(([answer, init]) => ({
      operation: 'sendHeartbeat',
      path: '/api/v3/stream-heartbeats',
      init,
      answer,
    })),
    { operation: 'createStreamToken', path: v3Streams, init: broken, answer: '400 PARSE_ERROR' },
    {
      operation: 'createStreamToken',
      path: v3Streams,
      init: json({ for: tooLarge }),
      answer: '413 PAYLOAD_TOO_LARGE',
    },
    {
      operation: 'createStreamToken',
      path: v3Streams,
      init: xml,
      answer: '415 UNSUPPORTED_MEDIA_TYPE',
    },
  ]

  async function managing(): Promise<void> {
    await using managed = await createTestApp()
    const { secret, apiKey } = await createKey(managed, { orgId })
    const headers = { Authorization: `Bearer ${secret}` }
    const own: Case = {
      operation: 'revokeApiKey',
      path: `${v3Keys}/${apiKey.id}`,
      init: { method: 'DELETE' },
      answer: '200',
    }
    for (const { operation, path, init, answer } of [...keyCases, ...ownCases, own]) {
      const { status, body } = await checked.fetch(
        path,
        { ...init, headers: { ...init?.headers, ...headers } },
        managed,
      )
      const got = status >= 400 ? `${status} ${body.code}` : `${status}`
      expect(`${operation} ${got}`, JSON.stringify(body)).toBe(`${operation} ${answer}`)
    }
  }

  /** Callers who may not: without a credential, of another organisation, from a foreign page, too many. */
  async function strangers(all: Case[]): Promise<void> {
    await using managed = await createTestApp()
    const { secret } = await createKey(managed, { orgId: 'other' })
    expect(await sendAll(all, managed)).toEqual(new Set([401]))
    const headers = { Authorization: `Bearer ${secret}` }
    expect(await sendAll(all, managed, headers, [])).toEqual(new Set([404]))

    await using open = await createTestApp()
    expect(await sendAll(all, open, { Origin: 'http://foreign.test' })).toEqual(new Set([403]))

    await using limited = await createTestApp({ RATE_LIMIT_ACTOR: '1' })
    await limited.fetch(`/api/v3/rooms?orgId=${orgId}`)
    expect(await sendAll(all, limited)).toEqual(new Set([429]))
  }

  async function failingDatabase(all: Case[]): Promise<void> {
    await using broken = await createTestApp()
    const { secret } = await createKey(broken, { orgId })
    const database = openDatabase({ url: broken.databaseUrl })
    const applied = await ask(broken, 'select name from schema_migrations')
    for (const _ of applied) await database.migrateDown()
    await database.close()
    expect(await sendAll(all, broken, bearer(secret))).toEqual(new Set([500]))
  }

  async function busyDatabase(all: Case[]): Promise<void> {
    await using busy = await createTestApp({ AUTH: 'open' }, { busyTimeout: 0 })
    const { secret } = await createKey(busy, { orgId })
    const database = openDatabase({ url: busy.databaseUrl })
    const { promise: released, resolve: release } = Promise.withResolvers<void>()
    const { promise: held, resolve: hold } = Promise.withResolvers<void>()
    const holding = database.write(async () => {
      hold()
      await released
    })
    await held
    expect(await sendAll(all, busy)).toContain(503)
    // Keys are managed with one only.
    expect(await sendAll(all, busy, bearer(secret))).toContain(503)
    release()
    await holding
    await database.close()
  }

  async function crowd(all: Case[]): Promise<void> {
    await using crowded = await createTestApp({ STREAMS_MAX: '1' })
    const reader = await crowded.fetch(`/api/v3/events?orgId=${orgId}`)
    const opening = all.filter(({ operation }) => operation.startsWith('on'))
    const roomId = await openRoom(crowded, 'crowd', orgId)
    for (const { path, answer } of opening) {
      if (answer !== '200') continue
      const own = path.replace(/rooms\/[0-9a-f]{24}/, `rooms/${roomId}`)
      expect((await checked.fetch(own, {}, crowded)).status).toBe(503)
    }
    await reader.body?.cancel()
  }

  test.each(['/api/v3/rooms', '/api/v2/room-list/'])(
    'refuses other methods of %s',
    async (path) => {
      for (const method of ['PUT', 'PATCH', 'DELETE']) {
        const { status, body } = await checked.fetch(path, { method })
        expect([status, body.code]).toEqual([405, 'METHOD_NOT_ALLOWED'])
      }
    },
  )
})

describe('the comparison itself', () => {
  const path = '/api/v3/rooms/64e96a73f59c079a226e1ae9'
  const headers = new Headers({
    'content-type': 'application/json',
    'x-request-id': 'x',
    etag: '"x"',
  })

  function check(method: string, url: string, status: number, body: unknown): () => void {
    return () => checked.conformances[0]?.check(method, url, { status, headers, body })
  }

  test('the comparison finds every kind of difference', () => {
    const content =
      checked.documents[0]?.paths['/api/v3/rooms/{roomId}']?.get?.responses[200]?.content
    const room = content?.['application/json']?.example as Json
    const { eventId: _, ...without } = room
    expect(check('GET', path, 200, room)).not.toThrow()
    expect(check('GET', path, 200, without)).toThrow('eventId')
    expect(check('GET', path, 200, { ...room, isActive: 'yes' })).toThrow('boolean')
    expect(check('GET', path, 200, { ...room, createdAt: 'today' })).toThrow('date-time')
    expect(check('GET', path, 200, { ...room, secret: 1 })).toThrow('additional')
    expect(check('GET', path, 418, room)).toThrow('no such status')
    expect(check('GET', '/api/v3/cellars', 200, room)).toThrow('no such path')
    expect(check('PUT', path, 200, room)).toThrow('no such method')
    const error = { code: 'ROOM_CLOSED', message: 'text', requestId: 'x' }
    expect(check('GET', path, 404, error)).toThrow('documents no ROOM_CLOSED')
  })

  test('the comparison requires the documented headers and content type', () => {
    const answer = { status: 200, body: {} }
    const [conformance] = checked.conformances
    const withHeaders = (init: Record<string, string>) => () =>
      conformance?.check('GET', path, { ...answer, headers: new Headers(init) })
    expect(withHeaders({ 'content-type': 'application/json' })).toThrow('X-Request-Id')
    const ours = { 'x-request-id': 'x', etag: '"x"' }
    expect(withHeaders({ ...ours, 'content-type': 'text/html' })).toThrow('text/html')
    expect(withHeaders({ 'content-type': 'text/html', 'x-request-id': 'x' })).toThrow('ETag')
  })
})

function operationsOf(document: OpenApi): { name: string; operation: DocumentedOperation }[] {
  return Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({
      name: `${method.toUpperCase()} ${path}`,
      operation,
    })),
  )
}

function examplesOf(media: {
  schema: Json
  example?: unknown
  examples?: Record<string, { value: unknown }>
}): { schema: Json; value: unknown }[] {
  const { schema, example, examples = {} } = media
  const values = Object.values(examples).map(({ value }) => value)
  return [...(example === undefined ? [] : [example]), ...values].map((value) => ({
    schema,
    value,
  }))
}

function requestExamples({ parameters = [], requestBody }: DocumentedOperation) {
  return [
    ...parameters.flatMap(examplesOf),
    ...Object.values(requestBody?.content ?? {}).flatMap(examplesOf),
  ]
}

/** The names of everything that an operation takes. */
function fieldsOf(document: OpenApi, { parameters = [], requestBody }: DocumentedOperation) {
  const nameOf = ({ $ref }: { $ref?: string }) => $ref?.split('/').at(-1) ?? ''
  const schema =
    document.components.schemas[nameOf(requestBody?.content['application/json']?.schema ?? {})]
  const { properties = {}, oneOf = [] } = (schema ?? {}) as { properties?: Json; oneOf?: Json[] }
  const shared = oneOf.map((each) => document.components.schemas[nameOf(each)] as Json)
  return [
    ...parameters.map(({ name }) => name),
    ...Object.keys(properties),
    ...shared.flatMap((each) => Object.keys(each.properties as Json)),
  ]
}

function documentedAnswers({ operationId, responses }: DocumentedOperation): string[] {
  return Object.entries(responses).flatMap(([status, { content }]) =>
    Number(status) < 400
      ? [`${operationId} ${status}`]
      : Object.keys(content?.['application/json']?.examples ?? {}).map(
          (code) => `${operationId} ${status} ${code}`,
        ),
  )
}

function everyObject(value: unknown): Record<string, unknown[] | undefined>[] {
  if (typeof value !== 'object' || value === null) return []
  const inside = Object.values(value).flatMap(everyObject)
  return Array.isArray(value) ? inside : [value as Record<string, unknown[]>, ...inside]
}

test('calling every documented operation in order, as an import of the document does, leaves open mode on', async () => {
  await using fresh = await createTestApp()
  const document = (await (await fresh.fetch('/openapi.json')).json()) as OpenApi
  const statuses = new Map<string, number>()
  for (const [path, operations] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      const { parameters = [], requestBody } = operation as unknown as {
        parameters?: { in: string; name: string; example?: unknown; required?: boolean }[]
        requestBody?: {
          content: Record<
            string,
            { example?: unknown; examples?: Record<string, { value: unknown }> }
          >
        }
      }
      const query = new URLSearchParams()
      let url = path
      for (const parameter of parameters) {
        const value = String(parameter.example ?? 'x')
        if (parameter.in === 'path')
          url = url.replace(`{${parameter.name}}`, encodeURIComponent(value))
        if (parameter.in === 'query' && parameter.required) query.append(parameter.name, value)
      }
      const content = requestBody?.content['application/json']
      const [first] = Object.values(content?.examples ?? {})
      const body = content && JSON.stringify(content.example ?? first?.value ?? {})
      const answer = await fetch(`${fresh.url}${url}?${query}`, {
        method: method.toUpperCase(),
        headers: {
          Authorization: 'Bearer ',
          ...(body ? { 'Content-Type': 'application/json' } : {}),
        },
        ...(body ? { body } : {}),
      })
      await answer.body?.cancel()
      statuses.set(`${method} ${path}`, answer.status)
    }
  }
  expect(statuses.get('post /api/v3/rooms')).toBe(201)
  expect(statuses.get('post /api/v3/stream-tokens')).toBe(201)
  const still = await fresh.fetch('/api/v3/rooms?orgId=DOWELL12345')
  expect(still.status).toBe(200)
})
