import { callNames, operationNamed } from '@dowell-chat/api'
import type { Inputs } from '@dowell-chat/client'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { as, bearer, createOrganisation, type Organisation, unlimited } from './credentials.ts'
import { ask } from './database.ts'
import { type Answer, expectFailure, type Json, send } from './http.ts'
import { createTestApp, type TestApp } from './support.ts'

let app: TestApp
let org: Organisation
let products = 0

beforeAll(async () => {
  app = await createTestApp(unlimited)
  org = await createOrganisation(app, 'DOWELL12345')
})
afterAll(() => app?.[Symbol.asyncDispose]())

const admin = () => as(app, org.keys.admin.secret)

function call(
  method: string,
  path: string,
  { body, ...headers }: Record<string, unknown> = {},
): Promise<Answer> {
  return send(app, {
    method,
    path,
    headers: {
      ...bearer(org.keys.admin.secret),
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      ...(headers as Record<string, string>),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  })
}

interface Target {
  readonly path: string
  /** A change that differs from all others. */
  change(): Record<string, unknown>
}

let changes = 0

async function openRoom() {
  const input = { userId: org.customer, orgId: org.id, portfolioName: 'umair' }
  const { room } = await admin().createRoom({ ...input, productName: `product ${++products}` })
  return room
}

async function writeIn(roomId: string) {
  const input = { roomId, messageData: 'hello', side: true, author: 'amara' }
  return (await admin().createMessage(input)).message
}

/** One resource of each kind that has a version. */
const targets: [kind: string, open: () => Promise<Target>][] = [
  [
    'a room',
    async () => ({
      path: `/api/v3/rooms/${(await openRoom()).id}`,
      change: () => ({ subject: `subject ${++changes}` }),
    }),
  ],
  [
    'a message',
    async () => {
      const { id } = await openRoom()
      const message = await writeIn(id)
      return {
        path: `/api/v3/rooms/${id}/messages/${message.id}`,
        change: () => ({ messageData: `text ${++changes}` }),
      }
    },
  ],
  [
    'an organisation',
    async () => ({
      path: `/api/v3/organisations/${org.id}`,
      change: () => ({ products: [`product ${++changes}`] }),
    }),
  ],
]

const tagOf = ({ headers }: Answer) => headers.etag as string

describe.each(targets)('If-Match on %s', (_, open) => {
  test('makes the change while nothing else changed, and is 412 afterwards', async () => {
    const { path, change } = await open()
    const read = await call('GET', path)
    expect(tagOf(read)).toMatch(/^"[\w-]{43}\.\d+"$/)
    const changed = await call('PATCH', path, { 'If-Match': tagOf(read), body: change() })
    expect(changed.status, changed.text).toBe(200)
    const again = await call('GET', path)
    expect(tagOf(again)).toBe(tagOf(changed))
    expect(again.body).toEqual(changed.body)

    const late = await call('PATCH', path, { 'If-Match': tagOf(read), body: change() })
    expectFailure('v3', late, { status: 412, code: 'PRECONDITION_FAILED' })
    expect((await call('GET', path)).text).toBe(again.text)
    const next = await call('PATCH', path, { 'If-Match': tagOf(changed), body: change() })
    expect(next.status, next.text).toBe(200)
  })

  test('takes lists, any tag by *, and tags that a proxy changed by compressing', async () => {
    const { path, change } = await open()
    const forms = [
      (tag: string) => tag,
      () => '*',
      (tag: string) => `"other.1234", ${tag}`,
      (tag: string) => ` ${tag} ,, "x"`,
      (tag: string) => `W/${tag}`,
      (tag: string) => `${tag.slice(0, -1)}-gzip"`,
    ]
    for (const form of forms) {
      const header = form(tagOf(await call('GET', path)))
      const answer = await call('PATCH', path, { 'If-Match': header, body: change() })
      expect(answer.status, `${header} ${answer.text}`).toBe(200)
    }
    const before = await call('GET', path)
    for (const header of ['"other"', '"a.999", W/"b.998"', '""', '"a.1e1"', '"-1"']) {
      const answer = await call('PATCH', path, { 'If-Match': header, body: change() })
      expect(answer.status, `${header} ${answer.text}`).toBe(412)
    }
    // The last one must not take exponential time.
    const many = `"a"${', '.repeat(2_000)}!`
    for (const header of ['', 'text', '"a', '"a" "b"', '* , "a"', 'w/"a"', '"a"b', many]) {
      const answer = await call('PATCH', path, { 'If-Match': header, body: change() })
      expectFailure('v3', answer, { status: 400, errors: { 'If-Match': [expect.any(String)] } })
    }
    expect((await call('GET', path)).text).toBe(before.text)
  })

  test('lets exactly one of many at once change it', async () => {
    const { path, change } = await open()
    for (let round = 0; round < 3; round++) {
      const tag = tagOf(await call('GET', path))
      const answers = await Promise.all(
        Array.from({ length: 8 }, () => call('PATCH', path, { 'If-Match': tag, body: change() })),
      )
      const statuses = answers.map(({ status }) => status).sort()
      expect(statuses).toEqual([200, ...Array(7).fill(412)])
      const winner = answers.find(({ status }) => status === 200)
      expect((await call('GET', path)).text).toBe(winner?.text)
    }
  })

  test('stays right for a change that changes nothing', async () => {
    const { path, change } = await open()
    const body = change()
    const changed = await call('PATCH', path, { body })
    const repeated = await call('PATCH', path, { 'If-Match': tagOf(changed), body })
    expect([repeated.status, tagOf(repeated)]).toEqual([200, tagOf(changed)])
  })
})

test('If-Match guards the deletion of rooms and messages', async () => {
  const room = await openRoom()
  const message = await writeIn(room.id)
  const paths = [`/api/v3/rooms/${room.id}/messages/${message.id}`, `/api/v3/rooms/${room.id}`]
  for (const path of paths) {
    const tag = tagOf(await call('GET', path))
    expect((await call('DELETE', path, { 'If-Match': '"x.99"' })).status).toBe(412)
    expect(tagOf(await call('GET', path))).toBe(tag)
    const deleted = await call('DELETE', path, { 'If-Match': tag })
    expect(deleted.body).toMatchObject({ isActive: false })
    expect(tagOf(deleted)).toBe(tagOf(await call('GET', path)))
    expect((await call('DELETE', path, { 'If-Match': tag })).status).toBe(412)
  }
  const missing = `/api/v3/rooms/${'f'.repeat(24)}`
  expect((await call('PATCH', missing, { 'If-Match': '*', body: {} })).status).toBe(404)
})

test("a customer's message does not fail an agent's change of the room", async () => {
  const { id } = await openRoom()
  const path = `/api/v3/rooms/${id}`
  const before = await call('GET', path)
  const message = await writeIn(id)
  await admin().updateMessage({ roomId: id, messageId: message.id, messageData: 'edited' })
  const after = await call('GET', path)
  // The body differs, so a conditional read is no 304.
  expect(tagOf(after)).not.toBe(tagOf(before))
  expect((await call('GET', path, { 'If-None-Match': tagOf(before) })).status).toBe(200)
  expect((await call('GET', path, { 'If-None-Match': tagOf(after) })).status).toBe(304)
  const changed = await call('PATCH', path, {
    'If-Match': tagOf(before),
    body: { assignee: 'amara' },
  })
  expect(changed.body).toMatchObject({ assignee: 'amara', version: 2 })
})

test('a room and a message that were just made carry the entity tag of a read', async () => {
  const body = { userId: 'new', orgId: org.id, portfolioName: 'p', productName: 'q' }
  for (const status of [201, 200]) {
    const made = await call('POST', '/api/v3/rooms', { body })
    expect(made.status).toBe(status)
    const room = `/api/v3/rooms/${made.body?.room?.id}`
    expect(tagOf(made)).toBe(tagOf(await call('GET', room)))
    const sent = await call('POST', `${room}/messages`, {
      body: { messageData: 'x', side: true, author: 'a', clientMessageId: 'sent-once-0123456789' },
    })
    expect(sent.status).toBe(status)
    expect(tagOf(sent)).toBe(tagOf(await call('GET', `${room}/messages/${sent.body?.message?.id}`)))
  }
})

test('If-Match is refused where it could only be ignored', async () => {
  const { id } = await openRoom()
  const writes: [string, string, object][] = [
    ['POST', `/api/v3/rooms/${id}/messages`, { messageData: 'x', side: true, author: 'a' }],
    ['PUT', `/api/v3/rooms/${id}/read-marker`, { seq: 0, readerId: 'a', readerSide: true }],
    ['POST', '/api/v3/api-keys', { orgId: org.id, right: 'read' }],
  ]
  for (const [method, path, body] of writes) {
    const answer = await call(method, path, { 'If-Match': '*', body })
    expectFailure('v3', answer, { status: 400, errors: { 'If-Match': [expect.any(String)] } })
  }
  expect((await admin().getMessages({ roomId: id })).items).toEqual([])
})

describe('ifVersion, for callers without headers', () => {
  test('compares the version that rooms and messages show', async () => {
    const room = await openRoom()
    const message = await writeIn(room.id)
    const where = { roomId: room.id, messageId: message.id }
    const stale = { code: 'PRECONDITION_FAILED', status: 412 }
    const first = await admin().updateRoom({ roomId: room.id, status: 'pending', ifVersion: 1 })
    expect([room.version, first.version]).toEqual([1, 2])
    const late = admin().updateRoom({ roomId: room.id, status: 'open', ifVersion: 1 })
    await expect(late).rejects.toMatchObject(stale)
    const deletion = admin().deleteRoom({ roomId: room.id, ifVersion: 1 })
    await expect(deletion).rejects.toMatchObject(stale)
    const edited = await admin().updateMessage({ ...where, messageData: 'x', ifVersion: 1 })
    expect(await admin().getMessage(where)).toEqual(edited)
    const lateEdit = admin().updateMessage({ ...where, messageData: 'y', ifVersion: 1 })
    await expect(lateEdit).rejects.toMatchObject(stale)
    await expect(admin().deleteMessage({ ...where, ifVersion: 1 })).rejects.toMatchObject(stale)
    expect(await admin().deleteMessage({ ...where, ifVersion: 2 })).toMatchObject({ version: 3 })
    expect(await admin().deleteRoom({ roomId: room.id, ifVersion: 2 })).toMatchObject({
      isActive: false,
      version: 3,
    })
  })

  test('of a batch holds for its own call', async () => {
    const { id: roomId } = await openRoom()
    const client = admin()
    const outcomes = await Promise.allSettled(
      [1, 1, 2].map((ifVersion, n) =>
        client.updateRoom({ roomId, subject: `subject ${n}`, ifVersion }),
      ),
    )
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  })

  test.each([-1, 1.5, '1', null])('refuses %j', async (ifVersion) => {
    const { id: roomId } = await openRoom()
    const change = admin().updateRoom({ roomId, ifVersion: ifVersion as number })
    await expect(change).rejects.toMatchObject({
      code: 'BAD_REQUEST',
      errors: { ifVersion: [expect.stringMatching(/^must be/)] },
    })
  })

  test('is an input of every write whose output is one object with a version', () => {
    const takes = callNames.filter((name) => 'ifVersion' in operationNamed(name).input.shape)
    const changing = callNames.filter((name) => {
      const { rest } = operationNamed(name)
      return rest.resource && ['PATCH', 'PUT', 'DELETE'].includes(rest.method)
    })
    expect(takes).toEqual(changing)
    expect(takes.length).toBeGreaterThanOrEqual(5)
    for (const name of callNames) {
      const { rest } = operationNamed(name)
      if (rest.method === 'PATCH') expect(rest.mergePatch, name).toBeDefined()
    }
  })
})

async function storedLabels(roomId: string) {
  const rows = await ask(app, 'select label from room_labels where room_id = ?', roomId)
  return rows.map(({ label }) => label).sort()
}

describe('labels and custom, changed one by one', () => {
  test('lose nothing when many callers change them at once', async () => {
    const { id: roomId } = await openRoom()
    await admin().updateRoom({ roomId, labels: ['old'], custom: { kept: { a: 1 } } })
    const names = Array.from({ length: 12 }, (_, n) => `label ${n}`)
    await Promise.all(
      names.map((name, n) =>
        as(app, org.keys.support.secret).updateRoom({
          roomId,
          addLabels: [name],
          removeLabels: ['old'],
          customPatch: { [name]: n, kept: { [name]: true } },
        }),
      ),
    )
    const room = await admin().getRoomById({ roomId })
    expect(room.labels.toSorted()).toEqual(names.toSorted())
    expect(await storedLabels(roomId)).toEqual(names.toSorted())
    const all = (value: (n: number) => unknown) =>
      Object.fromEntries(names.map((name, n) => [name, value(n)]))
    expect(room.custom).toEqual({ ...all((n) => n), kept: { a: 1, ...all(() => true) } })
  })

  test('keep the order, and the version where nothing changes', async () => {
    const { id: roomId } = await openRoom()
    const before = await admin().updateRoom({ roomId, labels: ['b', 'a'], custom: { z: 1, a: 2 } })
    for (const same of [
      { addLabels: ['a', 'b'] },
      { removeLabels: ['absent'] },
      { addLabels: [], removeLabels: [] },
      { customPatch: {} },
      { customPatch: { a: 2, absent: null } },
    ]) {
      expect(await admin().updateRoom({ roomId, ...same })).toEqual(before)
    }
    const added = await admin().updateRoom({ roomId, addLabels: ['c', 'a'], removeLabels: ['b'] })
    expect(added.labels).toEqual(['a', 'c'])
    // Labels lose the blanks at their ends, so one that is removed is found with them.
    const spaced = { addLabels: [' d '], removeLabels: [' c '] }
    expect((await admin().updateRoom({ roomId, ...spaced })).labels).toEqual(['a', 'd'])
    await expect(
      admin().updateRoom({ roomId, addLabels: ['e'], removeLabels: ['e '] }),
    ).rejects.toMatchObject({ errors: { removeLabels: [expect.any(String)] } })
  })

  test('a patch may be longer than the result, and leave what older rules allowed', async () => {
    const { id: roomId } = await openRoom()
    const keys = Array.from({ length: 450 }, (_, n) => `k${n}`)
    const custom = Object.fromEntries(keys.map((key) => [key, 1]))
    await admin().updateRoom({ roomId, custom })
    const customPatch = Object.fromEntries(keys.map((key) => [key, null]))
    expect((await admin().updateRoom({ roomId, customPatch })).custom).toEqual({})
    await ask(app, `update rooms set custom = '{"old":1e300}' where id = ?`, roomId)
    const patched = await admin().updateRoom({ roomId, customPatch: { a: 1 } })
    expect(patched.custom).toEqual({ old: 1e300, a: 1 })
  })

  test('keep the limits, and are refused together with the whole value', async () => {
    const { id: roomId } = await openRoom()
    const many = Array.from({ length: 20 }, (_, n) => `label ${n}`)
    const before = await admin().updateRoom({
      roomId,
      labels: many,
      custom: { a: 'x'.repeat(4_000) },
    })
    const refused: [string, Omit<Inputs['updateRoom'], 'roomId'>][] = [
      ['addLabels', { addLabels: ['one more'] }],
      ['addLabels', { addLabels: many.map((name) => `${name}!`).concat('x') }],
      ['addLabels', { addLabels: ['twice', 'twice'] }],
      ['addLabels.0', { addLabels: ['with, comma'] }],
      ['removeLabels', { removeLabels: 'label 1' as never }],
      ['labels', { labels: ['x'], addLabels: ['y'] }],
      ['labels', { labels: ['x'], removeLabels: ['y'] }],
      ['removeLabels', { addLabels: ['x'], removeLabels: ['x'] }],
      ['custom', { custom: {}, customPatch: {} }],
      ['customPatch', { customPatch: { b: 'x'.repeat(100) } }],
      ['customPatch', { customPatch: [] as never }],
    ]
    for (const [field, input] of refused) {
      await expect(admin().updateRoom({ roomId, ...input }), field).rejects.toMatchObject({
        code: 'BAD_REQUEST',
        errors: { [field]: [expect.stringMatching(/^(must|leaves)/)] },
      })
    }
    expect(await admin().getRoomById({ roomId })).toEqual(before)
    const swapped = { addLabels: ['one more'], removeLabels: ['label 0'] }
    expect((await admin().updateRoom({ roomId, ...swapped })).labels).toHaveLength(20)
  })
})

const MERGE_PATCH = { 'Content-Type': 'application/merge-patch+json' }

/** RFC 7396, section 2. */
function merged(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch
  const isObject = typeof target === 'object' && target !== null && !Array.isArray(target)
  const result = new Map(isObject ? Object.entries(target as object) : [])
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) result.delete(key)
    else result.set(key, merged(result.get(key), value))
  }
  return Object.fromEntries(result)
}

describe('application/merge-patch+json', () => {
  test('merges custom, and null removes', async () => {
    const { id } = await openRoom()
    const path = `/api/v3/rooms/${id}`
    const custom = { order: 1, nested: { a: 1, b: [1, 2] }, gone: true }
    const details = { subject: 'old', assignee: 'amara', labels: ['a'], custom }
    await call('PATCH', path, { body: details })
    const patch = {
      subject: null,
      assignee: null,
      labels: ['b'],
      custom: { gone: null, nested: { a: null, b: [3], c: { d: 1 } } },
    }
    const changed = await call('PATCH', path, { ...MERGE_PATCH, body: patch })
    expect(changed.body).toMatchObject({ subject: null, assignee: null, labels: ['b'] })
    expect(changed.body?.custom).toEqual({ order: 1, nested: { b: [3], c: { d: 1 } } })
    const emptied = await call('PATCH', path, {
      ...MERGE_PATCH,
      body: { labels: null, custom: null },
    })
    expect(emptied.body).toMatchObject({ labels: [], custom: {}, status: 'open' })
  })

  test('does to custom what RFC 7396 says, whatever is in it', async () => {
    const { id } = await openRoom()
    const path = `/api/v3/rooms/${id}`
    const key = fc.constantFrom('a', 'b', 'c', '1')
    const value = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 3 },
        fc.constantFrom(null, true, 'text', 7),
        fc.array(fc.constantFrom(null, 1, { a: null }), { maxLength: 2 }),
        tie('object'),
      ),
      object: fc.dictionary(key, tie('value'), { maxKeys: 4, noNullPrototype: true }),
    })).object as fc.Arbitrary<Json>
    await fc.assert(
      fc.asyncProperty(value, value, async (before, patch) => {
        await call('PATCH', path, { body: { custom: before } })
        const changed = await call('PATCH', path, { ...MERGE_PATCH, body: { custom: patch } })
        expect(changed.body?.custom).toEqual(merged(before, patch))
      }),
      { numRuns: 40 },
    )
  })

  test('works for messages and organisations too, with If-Match', async () => {
    for (const [, open] of targets) {
      const { path, change } = await open()
      const body = change()
      const tag = tagOf(await call('GET', path))
      const changed = await call('PATCH', path, { ...MERGE_PATCH, 'If-Match': tag, body })
      expect(changed.body).toMatchObject(body)
    }
    const settings = `/api/v3/organisations/${org.id}`
    const cleared = await call('PATCH', settings, { ...MERGE_PATCH, body: { products: null } })
    expect(cleared.body).toMatchObject({ products: null })
  })

  test('names the members that it cannot change, as the patch does', async () => {
    const { id } = await openRoom()
    const path = `/api/v3/rooms/${id}`
    const refused: [object, string][] = [
      [{ addLabels: ['x'] }, '"addLabels"'],
      [{ customPatch: { a: 1 } }, '"customPatch"'],
      [{ ifVersion: 1 }, '"ifVersion"'],
      [{ id: 'x' }, '"id"'],
      [{ status: null }, 'status'],
      [{ custom: { a: 'x'.repeat(5_000) } }, 'custom'],
      [{ custom: [] }, 'custom'],
    ]
    for (const [body, field] of refused) {
      const answer = await call('PATCH', path, { ...MERGE_PATCH, body })
      const errors = { [field]: [expect.any(String)] }
      expectFailure('v3', answer, { status: 400, code: 'BAD_REQUEST', errors })
    }
    const post = await call('POST', '/api/v3/rooms', { ...MERGE_PATCH, body: {} })
    expect(post.status).toBe(415)
    const text = await call('PATCH', path, { 'Content-Type': 'text/plain', body: {} })
    expect(text.body?.message).toContain('application/merge-patch+json')
  })
})
