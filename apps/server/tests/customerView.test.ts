import { callNames, operationNamed } from '@dowell-chat/api'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { callVariantsOf } from './callVariants.ts'
import { as, bearer, createOrganisation, type Organisation, unlimited } from './credentials.ts'
import { EventReader } from './eventReader.ts'
import { fixtures } from './fixtures.ts'
import { send } from './http.ts'
import { createTestApp, type TestApp } from './support.ts'

const SECRET = 'only-for-the-team'
const internal = { assignee: SECRET, labels: [SECRET], custom: { [SECRET]: [SECRET] } }
const hidden = { assignee: null, labels: [], custom: {} }

let app: TestApp
let organisations = 0
beforeAll(async () => {
  app = await createTestApp(unlimited)
})
afterAll(() => app?.[Symbol.asyncDispose]())

/** An organisation whose rooms all have internal details. */
async function createOwn(): Promise<Organisation> {
  const org = await createOrganisation(app, `organisation ${++organisations}`)
  const admin = as(app, org.keys.admin.secret)
  const { items } = await admin.listRooms({ orgId: org.id })
  for (const { id: roomId } of items) await admin.updateRoom({ roomId, ...internal })
  return org
}

const show = (org: Organisation, ...customerRoomFields: ('assignee' | 'labels' | 'custom')[]) =>
  as(app, org.keys.admin.secret).updateOrganisation({ orgId: org.id, customerRoomFields })

describe("a customer's token", () => {
  test('shows no internal detail of a room on any surface', async () => {
    const org = await createOwn()
    const sender = { side: false, author: org.customer }
    for (const name of callNames) {
      if (operationNamed(name).access.customerToken === 'none') continue
      for (const variant of callVariantsOf(name)) {
        // A room that exists, so that createRoom returns it.
        const productName = 'WIFIQRCODE'
        const input = {
          ...fixtures[name].input(org, sender),
          ...(name === 'createRoom' ? { productName } : {}),
        }
        const { status, text } = await variant.call(
          app,
          input as never,
          bearer(org.tokens.customer),
        )
        expect(status, `${variant.title} ${text}`).toBeLessThan(300)
        expect(text, variant.title).not.toContain(SECRET)
      }
    }
  })

  test('shows the keys of a room with null and empty values, and the support team everything', async () => {
    const { room: roomId, tokens, keys } = await createOwn()
    for (const token of [tokens.support, keys.read.secret, keys.admin.secret]) {
      expect(await as(app, token).getRoomById({ roomId })).toMatchObject(internal)
    }
    const customer = as(app, tokens.customer)
    expect(await customer.getRoomById({ roomId })).toMatchObject(hidden)
    expect((await customer.getRoomSnapshot({ roomId })).room).toMatchObject(hidden)
  })

  test('does not tell the size of what is hidden by the length of a page of events', async () => {
    const org = await createOwn()
    const admin = as(app, org.keys.admin.secret)
    const input = { orgId: org.id, roomId: org.room, limit: 200 }
    const customer = as(app, org.tokens.customer)
    const custom = { text: 'x'.repeat(3_900) }
    await admin.updateRoom({ roomId: org.room, custom })
    const { after } = await customer.listEvents({ ...input, after: 'now' })
    for (let n = 0; n < 120; n++) await admin.updateRoom({ roomId: org.room, subject: `${n}` })
    // With it, 120 rooms do not fit into a page.
    expect((await admin.listEvents({ ...input, after })).items.length).toBeLessThan(120)
    expect((await customer.listEvents({ ...input, after })).items).toHaveLength(120)
  })

  test('shows what the settings say', async () => {
    const org = await createOwn()
    const customer = as(app, org.tokens.customer)
    const read = () => customer.getRoomById({ roomId: org.room })
    await show(org, 'labels')
    expect(await read()).toMatchObject({ ...hidden, labels: [SECRET] })
    await show(org, 'assignee', 'custom')
    expect(await read()).toMatchObject({ ...internal, labels: [] })
    await show(org)
    expect(await read()).toMatchObject(hidden)
  })

  test('shows what the settings say on another instance within seconds', async () => {
    const org = await createOwn()
    await using second = await createTestApp({ ...unlimited, DATABASE_URL: app.databaseUrl })
    const customer = as(second, org.tokens.customer)
    const read = () => customer.getRoomById({ roomId: org.room })
    expect(await read()).toMatchObject(hidden)
    await show(org, 'labels')
    await expect.poll(read).toMatchObject({ ...hidden, labels: [SECRET] })
  })

  test('changes none of these fields', async () => {
    const org = await createOwn()
    await show(org, 'labels', 'assignee', 'custom')
    const customer = as(app, org.tokens.customer)
    const refused = { code: 'FORBIDDEN' }
    for (const change of [{ labels: [] }, { addLabels: ['x'] }, { customPatch: {} }]) {
      const call = customer.updateRoom({ roomId: org.room, ...change })
      await expect(call).rejects.toMatchObject(refused)
    }
  })

  test.each(callVariantsOf('listRooms').filter(({ surface }) => surface !== 'v2'))(
    'is refused a filter that would tell a hidden value over $title',
    async (variant) => {
      const org = await createOwn()
      const list = (filter: object) =>
        variant.call(app, { orgId: org.id, ...filter }, bearer(org.tokens.customer))
      for (const field of ['assignee', 'label']) {
        for (const value of [SECRET, 'another', ...(field === 'assignee' ? [null] : [])]) {
          const { status, text } = await list({ [field]: value })
          expect([status, text]).toEqual([403, expect.stringContaining(`"${field}"`)])
        }
      }
      expect((await list({ status: 'open' })).status).toBe(200)
      expect((await list({ status: ['open', 'pending'] })).status).toBe(200)
      await show(org, 'labels')
      const { status, text } = await list({ label: SECRET })
      expect([status, text]).toEqual([200, expect.stringContaining(org.room)])
      expect((await list({ assignee: SECRET })).status).toBe(403)
    },
  )

  test('has other entity tags than the support team, and 304 only for its own', async () => {
    const org = await createOwn()
    const paths = ['', '/snapshot'].map((part) => `/api/v3/rooms/${org.room}${part}`)
    for (const path of paths) {
      const get = (token: string, tag?: string) =>
        send(app, { path, headers: { ...bearer(token), ...(tag ? { 'If-None-Match': tag } : {}) } })
      const { support, customer } = org.tokens
      const tags = new Map<string, string>()
      for (const token of [support, customer]) {
        tags.set(token, (await get(token)).headers.etag as string)
      }
      for (const token of [support, customer, support, customer]) {
        for (const [owner, tag] of tags) {
          const { status } = await get(token, tag)
          expect(status, path).toBe(owner === token ? 304 : 200)
        }
      }
      await show(org, 'labels')
      expect((await get(customer, tags.get(customer))).status).toBe(200)
      await show(org)
    }
  })
})

describe('a stream', () => {
  test('of a customer shows no internal detail, live or replayed, and the same to each', async () => {
    const org = await createOwn()
    const admin = as(app, org.keys.admin.secret)
    const streams = [
      `/api/v3/rooms/${org.room}/events`,
      `/api/v3/events?orgId=${encodeURIComponent(org.id)}`,
      `/api/v3/users/${encodeURIComponent(org.customer)}/events?orgId=${encodeURIComponent(org.id)}`,
      `/trpc/onRoomEvents?input=${encodeURIComponent(JSON.stringify({ json: { roomId: org.room } }))}`,
    ]
    const { after } = await admin.listEvents({ orgId: org.id, limit: 200 })
    const { token } = await as(app, org.tokens.customer).createStreamToken({})
    const callers: [side: boolean, path: (path: string) => string, headers: object][] = [
      [false, (path) => path, bearer(org.tokens.customer)],
      [false, (path) => `${path}${path.includes('?') ? '&' : '?'}streamToken=${token}`, {}],
      [true, (path) => path, bearer(org.tokens.support)],
      [true, (path) => path, bearer(org.keys.read.secret)],
    ]
    let subject = 0
    const change = async () => {
      subject++
      await admin.updateRoom({ roomId: org.room, subject: `subject ${subject}` })
    }
    await change()
    for (const stream of streams) {
      for (const [side, pathOf, headers] of callers) {
        await using reader = await EventReader.open(app, pathOf(stream), {
          ...headers,
          'Last-Event-ID': after,
        })
        const nextRoom = async () => {
          for (;;) {
            const event = await reader.next()
            if (event.type === 'room.updated') return event.room
          }
        }
        const wanted = side ? internal : hidden
        // The change from before the stream was opened, and those of the readers before this one.
        for (let replayed = 0; replayed < subject; replayed++) {
          expect(await nextRoom(), stream).toMatchObject(wanted)
        }
        await change()
        const shown = { ...wanted, subject: `subject ${subject}` }
        expect(await nextRoom(), stream).toMatchObject(shown)
      }
    }
  })

  test('of a customer shows what the settings say from the next event on', async () => {
    const org = await createOwn()
    const admin = as(app, org.keys.admin.secret)
    const path = `/api/v3/rooms/${org.room}/events`
    await using reader = await EventReader.open(app, path, bearer(org.tokens.customer))
    while ((await reader.next()).type !== 'ready');
    await show(org, 'custom')
    await admin.updateRoom({ roomId: org.room, subject: 'shown' })
    for (;;) {
      const event = await reader.next()
      if (event.type !== 'room.updated') continue
      expect(event.room).toMatchObject({ ...hidden, custom: internal.custom })
      break
    }
  })
})
