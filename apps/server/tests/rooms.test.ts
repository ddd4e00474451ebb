import type { Inputs } from '@dowell-chat/client'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { as, bearer, createOrganisation, type Organisation, unlimited } from './credentials.ts'
import { ask } from './database.ts'
import { send, sendJson } from './http.ts'
import { createTestApp, json, type TestApp } from './support.ts'
import { trpc } from './surfaces.ts'

let app: TestApp
/** Without keys, for what is about values and not about callers. */
let open: TestApp
let org: Organisation
let roomId: string
/** After the rooms were opened, by a server with the machine's clock: a change is never before that. */
let now = Date.now() + 3_600_000

beforeAll(async () => {
  app = await createTestApp(unlimited, { clock: () => now })
  org = await createOrganisation(app, 'DOWELL12345')
  open = await createTestApp(unlimited)
  const identity = { orgId: 'a', userId: 'b', portfolioName: 'c', productName: 'd' }
  roomId = (await as(open).createRoom(identity)).room.id
})
afterAll(async () => {
  await app?.[Symbol.asyncDispose]()
  await open?.[Symbol.asyncDispose]()
})

const support = () => as(app, org.tokens.support)

async function stateOf(of: TestApp, id: string) {
  const [room] = await ask(of, 'select * from rooms where id = ?', id)
  const labels = await ask(of, 'select * from room_labels where room_id = ? order by label', id)
  const events = await ask(of, 'select * from events where room_id = ? order by position', id)
  return { room, labels, events }
}

describe('updateRoom', () => {
  test('sets what is given and leaves what is not', async () => {
    const { elsewhere: roomId } = org
    const before = await support().getRoomById({ roomId })
    const details = {
      subject: 'The QR code 🙂',
      status: 'pending',
      assignee: org.supporter,
      labels: ['billing', 'Ünïcode'],
      custom: { order: 4711, nested: { list: [1, null, 'a.b', { true: false }] } },
    } as const
    now += 1_000
    const described = await support().updateRoom({
      roomId,
      ...details,
      labels: [...details.labels],
    })
    const version = before.version + 1
    expect(described).toEqual({ ...before, ...details, updatedAt: new Date(now), version })
    expect(await support().getRoomById({ roomId })).toEqual(described)

    const resolved = await support().updateRoom({ roomId, status: 'resolved' })
    expect(resolved).toEqual({ ...described, status: 'resolved', version: version + 1 })
    const emptied = { subject: null, assignee: null, labels: [], custom: {} }
    expect(await support().updateRoom({ roomId, ...emptied })).toEqual({
      ...resolved,
      ...emptied,
      version: version + 2,
    })
  })

  test('tells each change as an event, and what is so already not at all', async () => {
    const { elsewhere: roomId } = org
    const details = { subject: 'again', labels: ['b', 'a'], custom: { a: [1] } }
    const earlier = await stateOf(app, roomId)
    const described = await support().updateRoom({ roomId, ...details })
    const before = await stateOf(app, roomId)
    expect(before.events.slice(earlier.events.length)).toMatchObject([{ type: 'room.updated' }])
    expect(before.room?.version).toBe(Number(earlier.room?.version) + 1)
    now += 1_000
    for (const same of [details, {}, { subject: 'again' }, { custom: { a: [1] } }]) {
      expect(await support().updateRoom({ roomId, ...same })).toEqual(described)
    }
    expect(await stateOf(app, roomId)).toEqual(before)
  })

  test('is possible in a deleted room, which may have to be tidied up', async () => {
    const { roomToDelete: roomId } = org
    await support().deleteRoom({ roomId })
    const described = await support().updateRoom({ roomId, subject: 'archived' })
    expect(described).toMatchObject({ subject: 'archived', isActive: false })
  })

  test('many at once leave the labels in step', async () => {
    const { elsewhere: roomId } = org
    const before = await stateOf(app, roomId)
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        support().updateRoom({ roomId, labels: [`label ${n}`, `label ${n % 3}!`] }),
      ),
    )
    const { room, labels, events } = await stateOf(app, roomId)
    expect(labels.map(({ label }) => label)).toEqual(JSON.parse(String(room?.labels)).toSorted())
    expect(answers.map((answer) => answer.labels)).toContainEqual(JSON.parse(String(room?.labels)))
    expect(events.length).toBe(before.events.length + answers.length)
  })

  test('is for the support team', async () => {
    const { room: roomId, elsewhere, tokens, keys } = org
    const describing = (credential: string, room = roomId) =>
      as(app, credential).updateRoom({ roomId: room, status: 'open' })
    for (const by of [keys.admin.secret, keys.support.secret, tokens.support]) {
      expect(await describing(by)).toMatchObject({ status: 'open' })
    }
    expect(await describing(tokens.supportElsewhere, elsewhere)).toMatchObject({ status: 'open' })
    const refused = { code: 'FORBIDDEN' }
    await expect(describing(keys.read.secret)).rejects.toMatchObject(refused)
    await expect(describing(tokens.customer)).rejects.toMatchObject(refused)
    const limited = describing(tokens.supportElsewhere)
    await expect(limited).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })
})

/** The same change over both wires: the status and the faulty fields of each. */
async function overBoth(change: unknown) {
  const input = typeof change === 'string' ? change : JSON.stringify(change)
  const headers = { 'Content-Type': 'application/json' }
  const patch = { method: 'PATCH', headers, body: input }
  const rest = await open.fetch(`/api/v3/rooms/${roomId}`, patch)
  const restBody = (await rest.json()) as { errors?: object }
  const trpcBody = `{"json":${input.replace(/^\{/, `{"roomId":"${roomId}",`).replace(/,\}$/, '}')}}`
  const call = await open.fetch('/trpc/updateRoom', { method: 'POST', headers, body: trpcBody })
  const { error } = (await call.json()) as { error?: { json: { data: { errors?: object } } } }
  return {
    rest: [rest.status, restBody.errors],
    trpc: [call.status, error?.json.data.errors],
  }
}

describe('the input of updateRoom', () => {
  const deep = (levels: number) => JSON.parse('{"a":'.repeat(levels) + 1 + '}'.repeat(levels))
  const long = 'x'.repeat(4_096 - '{"a":""}'.length)

  test.for<[string, unknown]>([
    ['subject', ''],
    ['subject', 'x'.repeat(201)],
    ['subject', 7],
    ['subject', 'a\0b'],
    ['status', 'closed'],
    ['status', null],
    ['assignee', ''],
    ['assignee', ['a']],
    ['labels', null],
    ['labels', 'billing'],
    ['labels', 'a,b'],
    ['labels', { 0: 'a' }],
    ['labels', ['a', 'a']],
    ['labels.0', ['a,b']],
    ['labels.1', ['a', '']],
    ['labels.0', ['x'.repeat(51)]],
    ['labels.0', [7]],
    ['labels', Array.from({ length: 21 }, (_, n) => `label ${n}`)],
    ['custom', null],
    ['custom', []],
    ['custom', 'text'],
    ['custom', { a: `${long}x` }],
    ['custom', { a: 'ü'.repeat(2_100) }],
    ['custom', { a: '\u0001'.repeat(700) }],
    ['custom', { [`${long}xxx`]: '' }],
    ['custom', { a: Array(3_000).fill(0) }],
    ['custom', deep(21)],
    ['unknown', 1],
  ])('%s is refused (%#)', async ([field, value]) => {
    const before = await stateOf(open, roomId)
    const [name = ''] = field.split('.')
    const { rest, trpc } = await overBoth({ [name]: value })
    expect(rest).toEqual([400, { [field]: [expect.stringMatching(/^(must|is not)/)] }])
    expect(trpc).toEqual(rest)
    expect(await stateOf(open, roomId)).toEqual(before)
  })

  test.for([
    { subject: 'x'.repeat(200) },
    { assignee: '🙂'.repeat(200) },
    { labels: Array.from({ length: 20 }, (_, n) => `${n % 2}${'🙂'.repeat(30 + n)}`) },
    { labels: ['constructor', '__proto__', 'Amara', 'amara'] },
    { custom: { a: long } },
    { custom: deep(20) },
    { custom: { '': '', 'a.b': 1, 'a\\b': [], toString: null, length: -1.5e-300, '🙂': '\u0001' } },
  ])('is kept as it is: %#', async (change) => {
    expect(await overBoth(change)).toEqual({ rest: [200, undefined], trpc: [200, undefined] })
    const shown = await (await open.fetch(`/api/v3/rooms/${roomId}`)).json()
    expect(shown).toMatchObject(change)
    expect(await as(open).getRoomById({ roomId })).toMatchObject(change)
  })

  test.for(['__proto__', 'constructor', 'prototype'])('%s is no key, however deep', async (key) => {
    for (const [custom, path] of [
      [`{"${key}":{"a":1}}`, ''],
      [`{"${key}":1}`, ''],
      [`{"a":[{"b":{"${key}":null}}]}`, 'a.0.b.'],
    ]) {
      const { rest, trpc } = await overBoth(`{"custom":${custom}}`)
      expect(rest).toEqual([400, { [`custom.${path}${key}`]: [expect.stringContaining(key)] }])
      expect(trpc).toEqual(rest)
    }
    expect(({} as { a?: number }).a).toBeUndefined()
  })

  test('what is no JSON is refused, whatever superjson makes of it', async () => {
    const custom = (json: unknown, meta: unknown) =>
      sendJson(open, '/trpc/updateRoom', { json: { roomId, custom: json }, meta })
    const doubled: Record<string, string[]> = {}
    // Each level twice the one below it: small as it is sent, and two to the twentieth when it is read.
    for (let level = 1; level < 18; level++) {
      const path = Array(level).fill('a').join('.')
      doubled[`custom.${path}`] = [`custom.${path.slice(0, -1)}b`]
    }
    const attempts: [json: unknown, meta: unknown][] = [
      [{ a: '2026-01-01T00:00:00Z' }, { values: { 'custom.a': ['Date'] } }],
      [{ a: 'NaN' }, { values: { 'custom.a': ['number'] } }],
      [{ a: '1' }, { values: { 'custom.a': ['bigint'] } }],
      [{ a: null }, { values: { 'custom.a': ['undefined'] } }],
      [{ a: [[1, 2]] }, { values: { 'custom.a': ['map'] } }],
      [{ a: [1] }, { values: { 'custom.a': ['set'] } }],
      [{ __proto__: null, a: '__proto__' }, { values: { 'custom.a': ['regexp'] } }],
      [{ a: {} }, { referentialEqualities: { custom: ['custom.a'] } }],
      [{ a: [{}] }, { referentialEqualities: { 'custom.a.0': ['custom.a.99999999'] } }],
      [deep(18), { referentialEqualities: doubled }],
    ]
    const before = await stateOf(open, roomId)
    for (const [json, meta] of attempts) {
      const { status, text } = await custom(json, meta)
      expect(status, text).toBe(400)
    }
    expect(await stateOf(open, roomId)).toEqual(before)
  })

  test('any JSON object that fits comes back over both wires', async () => {
    const kept = (_: string, value: unknown) =>
      typeof value === 'number' && Math.abs(value) > Number.MAX_SAFE_INTEGER ? 0 : value
    const anyJson = fc
      .jsonValue({ maxDepth: 5 })
      .map((value): unknown => JSON.parse(JSON.stringify(value), kept))
    const values = anyJson.filter((value) => {
      const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
      const text = JSON.stringify(value)
      return isObject && text.length < 2_000 && !/"(__proto__|constructor|prototype)":/.test(text)
    })
    await fc.assert(
      fc.asyncProperty(values, fc.boolean(), async (custom, overRest) => {
        const wanted = JSON.parse(JSON.stringify(custom))
        const path = `/api/v3/rooms/${roomId}`
        if (overRest) await open.fetch(path, json({ custom }, 'PATCH'))
        else await trpc(open, 'updateRoom', { roomId, custom })
        const shown = (await (await open.fetch(path)).json()) as { custom: unknown }
        expect(shown.custom).toEqual(wanted)
        expect((await as(open).getRoomById({ roomId })).custom).toEqual(wanted)
      }),
      { numRuns: 60 },
    )
  })
})

describe('listRooms', () => {
  test('finds rooms by what is said of them, for each caller among their own', async () => {
    const { room, elsewhere, talk, otherCustomersRoom, roomToDelete, tokens } = org
    const admin = as(app, org.keys.admin.secret)
    await admin.deleteRoom({ roomId: roomToDelete })
    const all = { room, elsewhere, talk, otherCustomersRoom, roomToDelete }
    const plain = { status: 'open', assignee: null, labels: [] as string[] } as const
    const mine = { status: 'pending', assignee: org.supporter, labels: ['vip'] } as const
    for (const roomId of Object.values(all)) {
      const isMine = roomId === room || roomId === otherCustomersRoom
      const { labels, ...rest } = isMine ? mine : plain
      await admin.updateRoom({ roomId, ...rest, labels: [...labels] })
    }
    const found = async (filter: Omit<Inputs['listRooms'], 'orgId'>, credential: string) => {
      const { items } = await as(app, credential).listRooms({ orgId: org.id, ...filter })
      return items.map(({ id }) => Object.entries(all).find(([, each]) => each === id)?.[0]).sort()
    }
    const ofTeam: [Omit<Inputs['listRooms'], 'orgId'>, string[]][] = [
      [{ label: 'vip' }, ['otherCustomersRoom', 'room']],
      [{ label: 'vi' }, []],
      [{ assignee: org.supporter, status: 'pending' }, ['otherCustomersRoom', 'room']],
      [{ assignee: org.supporter, status: 'open' }, []],
      [{ status: 'open' }, ['elsewhere', 'roomToDelete', 'talk']],
      [{ status: ['open', 'resolved'] }, ['elsewhere', 'roomToDelete', 'talk']],
      [
        { status: ['open', 'pending'], isActive: true },
        ['elsewhere', 'otherCustomersRoom', 'room', 'talk'],
      ],
      [{ assignee: null }, ['elsewhere', 'roomToDelete', 'talk']],
      [{ assignee: null, status: ['pending', 'resolved'] }, []],
      [{ assignee: null, status: 'open', userId: org.otherCustomer }, []],
      [{ isActive: false }, ['roomToDelete']],
      [{ isActive: false, label: 'vip' }, []],
      [{ userId: org.otherCustomer }, ['otherCustomersRoom']],
      [{ userId: org.customer, label: 'vip', isActive: true }, ['room']],
      [{ productName: 'ELSEWHERE', status: 'open' }, ['elsewhere']],
    ]
    for (const [filter, wanted] of ofTeam) {
      expect(await found(filter, tokens.support), JSON.stringify(filter)).toEqual(wanted)
    }
    await admin.updateOrganisation({ orgId: org.id, customerRoomFields: ['labels'] })
    expect(await found({ label: 'vip' }, tokens.customer)).toEqual(['room'])
    expect(await found({ userId: org.otherCustomer }, tokens.customer)).toEqual([])
    expect(await found({ status: 'open' }, tokens.supportElsewhere)).toEqual(['elsewhere'])
    expect(await found({ label: 'vip' }, tokens.supportElsewhere)).toEqual([])
  })

  test('takes several statuses and an empty assignee in a URL', async () => {
    const { id: orgId, otherCustomersRoom, elsewhere, talk } = org
    await support().updateRoom({ roomId: otherCustomersRoom, status: 'resolved', assignee: null })
    await support().updateRoom({ roomId: elsewhere, status: 'pending', assignee: null })
    await support().updateRoom({ roomId: talk, status: 'pending', assignee: org.supporter })
    const get = (query: string, tag?: string) =>
      send(app, {
        path: `/api/v3/rooms?orgId=${orgId}&${query}`,
        headers: { ...bearer(org.tokens.support), ...(tag ? { 'If-None-Match': tag } : {}) },
      })
    const idsOf = async (query: string) =>
      JSON.parse((await get(query)).text).items.map(({ id }: { id: string }) => id)
    const closing = await idsOf('status=pending&status=resolved')
    expect(closing).toEqual(expect.arrayContaining([otherCustomersRoom, elsewhere, talk]))
    for (const query of [
      'status=resolved,pending',
      'status[]=pending&status[]=resolved',
      'status=pending&status=resolved&status=pending',
    ]) {
      expect(await idsOf(query), query).toEqual(closing)
    }
    const pending = await idsOf('status=pending')
    expect(pending).not.toContain(otherCustomersRoom)
    const unassigned = await idsOf('status=pending,resolved&assignee=')
    expect(unassigned).toEqual(expect.arrayContaining([otherCustomersRoom, elsewhere]))
    expect(unassigned).not.toContain(talk)

    const queries = ['status=pending', 'status=pending&status=resolved', 'status=pending&assignee=']
    const tags = await Promise.all(
      queries.map(async (query) => (await get(query)).headers.etag as string),
    )
    for (const [i, query] of queries.entries()) {
      const statuses = await Promise.all(tags.map(async (tag) => (await get(query, tag)).status))
      expect(statuses, query).toEqual(tags.map((_, j) => (i === j ? 304 : 200)))
    }
  })

  test('says which statuses and which assignees it takes', async () => {
    const list = (filter: object) => as(open).listRooms({ orgId: 'a', ...filter })
    const refused = (errors: object) => ({ code: 'BAD_REQUEST', errors })
    const wrong = { status: [expect.stringContaining('open, pending, resolved, or a list')] }
    const four = Array(4).fill('open')
    for (const status of [
      'lost',
      '',
      null,
      [],
      ['open', 'lost'],
      [['open']],
      four,
      'open,pending',
    ]) {
      await expect(list({ status }), String(status)).rejects.toMatchObject(refused(wrong))
    }
    await expect(list({ assignee: '' })).rejects.toMatchObject(
      refused({ assignee: ['must not be empty'] }),
    )
    for (const [query, field] of [
      ['status=', 'status'],
      ['status=open,', 'status'],
      ['status=open&status=lost', 'status'],
      ['status=open&status=open&status=open&status=open', 'status'],
      ['assignee=a&assignee=', 'assignee'],
      ['label=', 'label'],
    ] as const) {
      const { status, text } = await send(open, { path: `/api/v3/rooms?orgId=a&${query}` })
      expect([status, Object.keys(JSON.parse(text).errors)], query).toEqual([400, [field]])
    }
  })

  test('gives pages that join to the whole list with any filter, from either end', async () => {
    const admin = as(open)
    const orgId = 'many'
    const statuses = ['open', 'pending', 'resolved'] as const
    for (let i = 0; i < 24; i++) {
      const identity = { orgId, userId: `user ${i}`, portfolioName: 'c' }
      const productName = i % 5 === 0 ? 'few' : 'most'
      const { room } = await admin.createRoom({ ...identity, productName })
      await admin.updateRoom({
        roomId: room.id,
        status: statuses[(i * 7) % 5] ?? 'open',
        assignee: [null, 'ben', null, 'amara'][i % 4] ?? null,
        labels: i % 3 === 0 ? ['vip'] : [],
      })
    }
    const { items: all } = await admin.listRooms({ orgId, limit: 200 })
    expect(all).toHaveLength(24)
    const someStatuses = [
      undefined,
      ...statuses,
      ...[0b011, 0b101, 0b110, 0b111].map((set) => statuses.filter((_, i) => set & (1 << i))),
    ]
    for (const status of someStatuses) {
      for (const assignee of [undefined, null, 'ben']) {
        for (const also of [{}, { productName: 'most' }, { label: 'vip' }, { userId: 'user 4' }]) {
          const filter = { orgId, status, assignee, ...also }
          const wanted = all.filter(
            (room) =>
              (status === undefined || [status].flat().includes(room.status)) &&
              (assignee === undefined || room.assignee === assignee) &&
              (!('productName' in also) || room.productName === also.productName) &&
              (!('userId' in also) || room.userId === also.userId) &&
              (!('label' in also) || room.labels.includes(also.label as string)),
          )
          let page = await admin.listRooms({ ...filter, limit: 3 })
          const backward = [...page.items]
          while (page.hasBefore) {
            page = await admin.listRooms({ ...filter, limit: 3, before: page.before })
            backward.unshift(...page.items)
          }
          const forward = [...page.items]
          while (page.hasAfter) {
            page = await admin.listRooms({ ...filter, limit: 3, after: page.after })
            forward.push(...page.items)
          }
          expect({ backward, forward }, JSON.stringify(filter)).toEqual({
            backward: wanted,
            forward: wanted,
          })
        }
      }
    }
  })

  test('gives no page around a room that it does not list', async () => {
    const { room, elsewhere, otherCustomersRoom, tokens } = org
    for (const roomId of [room, otherCustomersRoom]) {
      await as(app, org.keys.admin.secret).updateRoom({
        roomId,
        status: 'pending',
        labels: ['vip'],
      })
    }
    const around = (around: string, filter: object, by = tokens.support) =>
      as(app, by).listRooms({ orgId: org.id, around, ...filter })
    expect((await around(room, { label: 'vip' })).items).toMatchObject([{ id: room }, {}])
    const outside = { code: 'BAD_REQUEST', errors: { around: [expect.any(String)] } }
    await expect(around(elsewhere, { label: 'vip' })).rejects.toMatchObject(outside)
    await expect(around(room, { status: 'resolved' })).rejects.toMatchObject(outside)
    await expect(around(room, {}, tokens.supportElsewhere)).rejects.toMatchObject(outside)
  })
})
