import { createTestStore } from '@dowell-chat/db/testing'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { callVariantsOf } from './callVariants.ts'
import {
  as,
  bearer,
  createOperator,
  createOrganisation,
  outcome,
  unlimited,
} from './credentials.ts'
import { ask } from './database.ts'
import { createTestApp, json, type TestApp } from './support.ts'

const ORG = 'DOWELL12345'

/** Settings that were changed so often. */
const settings = (id: string, version: number, products: string[] | null = null) => ({
  id,
  products,
  customerRoomFields: [],
  version,
})

let app: TestApp
beforeAll(async () => {
  app = await createTestApp(unlimited)
})
afterAll(() => app?.[Symbol.asyncDispose]())

let organisations = 0

/** An organisation of a test's own, with an admin's client and what the audit log says of its settings. */
async function createOwn() {
  const org = await createOrganisation(app, `organisation ${++organisations}`)
  const admin = as(app, org.keys.admin.secret)
  return {
    org,
    orgId: org.id,
    admin,
    async audit() {
      const { items } = await admin.listAuditEvents({ orgId: org.id, limit: 200 })
      return items.filter(({ action }) => action === 'organisation.updated')
    },
  }
}

describe('the settings of an organisation', () => {
  test('are the defaults until somebody sets them', async () => {
    const { orgId, admin } = await createOwn()
    expect(await admin.getOrganisation({ orgId })).toEqual(settings(orgId, 0))
  })

  test('change where they are given, and stay where they are left out', async () => {
    const { orgId, admin } = await createOwn()
    const products = ['WIFIQRCODE', 'LOGIN']
    const wanted = settings(orgId, 1, products)
    expect(await admin.updateOrganisation({ orgId, products })).toEqual(wanted)
    expect(await admin.updateOrganisation({ orgId })).toEqual(wanted)
    expect(await admin.getOrganisation({ orgId })).toEqual(wanted)
    const cleared = settings(orgId, 2)
    expect(await admin.updateOrganisation({ orgId, products: null })).toEqual(cleared)
    expect(await admin.getOrganisation({ orgId })).toEqual(cleared)
  })

  test('keep what only a newer version of the server knows', async () => {
    const { orgId, admin } = await createOwn()
    const stored = JSON.stringify({ invented: { later: true } })
    await ask(app, 'insert into organisation_settings values (?, ?, 1)', orgId, stored)
    expect(await admin.getOrganisation({ orgId })).toEqual(settings(orgId, 1))
    const wanted = settings(orgId, 2, ['A'])
    expect(await admin.updateOrganisation({ orgId, products: ['A'] })).toEqual(wanted)
    const [row] = await ask(app, 'select * from organisation_settings where org_id = ?', orgId)
    expect(JSON.parse(String(row?.settings))).toEqual({ ...JSON.parse(stored), products: ['A'] })
  })

  test('are told in the audit log with what changed, and not where nothing did', async () => {
    const { org, orgId, admin, audit } = await createOwn()
    for (const products of [null, ['A', 'B'], ['A', 'B'], ['B', 'A'], null, null]) {
      await admin.updateOrganisation({ orgId, products })
      await admin.updateOrganisation({ orgId })
    }
    const told = { actor: `key:${org.keys.admin.id}`, target: orgId, orgId }
    expect(await audit()).toMatchObject([
      { ...told, details: { products: ['A', 'B'] } },
      { ...told, details: { products: ['B', 'A'] } },
      { ...told, details: { products: null } },
    ])
  })

  test('of an organisation that has neither a room nor a key are set by the operator', async () => {
    await using operator = createOperator(app)
    const orgId = 'nothing yet'
    const rows = () => ask(app, 'select id from organisations where id = ?', orgId)
    expect(await operator.call.getOrganisation({ orgId })).toEqual(settings(orgId, 0))
    expect(await rows()).toEqual([])
    const wanted = settings(orgId, 1, ['A'])
    expect(await operator.call.updateOrganisation({ orgId, products: ['A'] })).toEqual(wanted)
    expect(await operator.call.getOrganisation({ orgId })).toEqual(wanted)
    expect(await rows()).toEqual([{ id: orgId }])
    // The first room takes the first position.
    const identity = { orgId, userId: 'a', portfolioName: 'p', productName: 'B' }
    await operator.call.createRoom(identity)
    expect(
      await ask(app, 'select last_room_position from organisations where id = ?', orgId),
    ).toEqual([{ last_room_position: 1 }])
  })

  test('set by many at once are told in the order in which they came to be', async () => {
    const { orgId, admin, audit } = await createOwn()
    await using second = await createTestApp({ ...unlimited, DATABASE_URL: app.databaseUrl })
    const { org } = await createOwn()
    expect(org.id).not.toBe(orgId)
    await using operator = createOperator(second)
    const answers = await Promise.all(
      Array.from({ length: 16 }, (_, n) => {
        const input = { orgId, products: [`product ${n}`] }
        return n % 2 === 0
          ? admin.updateOrganisation(input)
          : operator.call.updateOrganisation(input)
      }),
    )
    for (const [n, answer] of answers.entries()) expect(answer.products).toEqual([`product ${n}`])
    const told = await audit()
    expect(told).toHaveLength(16)
    const { products } = await admin.getOrganisation({ orgId })
    expect(told.at(-1)?.details).toEqual({ products })
  })

  test('are those of whoever asks, and of nobody else', async () => {
    const { org, orgId, admin } = await createOwn()
    const { org: foreign } = await createOwn()
    await admin.updateOrganisation({ orgId, products: ['SECRET'] })
    const attempts = (credential: string) => [
      as(app, credential).getOrganisation({ orgId }),
      as(app, credential).updateOrganisation({ orgId, products: null }),
    ]
    const outcomes = (credential: string) => Promise.all(attempts(credential).map(outcome))
    const { keys, tokens } = org
    for (const other of [keys.support.secret, keys.read.secret, ...Object.values(tokens)]) {
      expect(await outcomes(other)).toEqual(['FORBIDDEN', 'FORBIDDEN'])
    }
    expect(await outcomes(foreign.keys.admin.secret)).toEqual(['NOT_FOUND', 'NOT_FOUND'])
    expect(await admin.getOrganisation({ orgId })).toEqual(settings(orgId, 1, ['SECRET']))
  })
})

describe('over REST', () => {
  test('a name is percent-encoded in the path, whatever is in it', async () => {
    await using operator = createOperator(app)
    for (const name of ['a b', 'a/b', 'ä%20&?#', '🙂', '%zz', 'a+b', 'x'.repeat(200)]) {
      const { secret } = await operator.call.createApiKey({ orgId: name, right: 'admin' })
      const path = `/api/v3/organisations/${encodeURIComponent(name)}`
      const headers = bearer(secret)
      const change = json({ products: ['A'] }, 'PATCH')
      const changed = await app.fetch(path, {
        ...change,
        headers: { ...change.headers, ...headers },
      })
      const wanted = settings(name, 1, ['A'])
      expect([changed.status, await changed.json()], name).toEqual([200, wanted])
      expect(await (await app.fetch(path, { headers })).json()).toEqual(wanted)
    }
  })

  test('a path that is no text is refused', async () => {
    const { org } = await createOwn()
    const answer = await app.fetch('/api/v3/organisations/%ff%fe', {
      headers: bearer(org.keys.admin.secret),
    })
    expect(answer.status).toBe(400)
    expect(await answer.json()).toMatchObject({ code: 'PARSE_ERROR' })
  })
})

describe('the input of updateOrganisation', () => {
  const many = Array.from({ length: 101 }, (_, n) => `product ${n}`)
  const bad: [field: string, value: unknown][] = [
    ['products', 'A'],
    ['products', { 0: 'A' }],
    ['products', many],
    ['products', ['A', 'A']],
    ['products.0', ['']],
    ['products.1', ['A', 'x'.repeat(201)]],
    ['products.0', [7]],
    ['products.0', [null]],
    ['products.0', ['a\0b']],
    ['products.0', ['\ud800']],
    ['customerRoomFields', 'labels'],
    ['customerRoomFields', ['labels', 'labels']],
    ['customerRoomFields.0', ['subject']],
    ['customerRoomFields', null],
    ['name', 'unknown'],
    ['settings', { products: null }],
  ]

  test.each(callVariantsOf('updateOrganisation'))('is checked over $title', async (variant) => {
    const { org, orgId, admin, audit } = await createOwn()
    for (const [field, value] of bad) {
      const [name = ''] = field.split('.')
      const input = { orgId, [name]: value }
      const { status, body } = await variant.call(app, input, bearer(org.keys.admin.secret))
      const told = JSON.stringify([field, value, body])
      expect(status, told).toBe(400)
      const { error, errors } = body as {
        errors?: object
        error?: { json: { data: { errors?: object } } }
      }
      const wrong = error?.json.data.errors ?? errors
      expect(wrong, told).toEqual({ [field]: [expect.stringMatching(/^(must|is not)/)] })
    }
    expect(await admin.getOrganisation({ orgId })).toEqual(settings(orgId, 0))
    expect(await audit()).toEqual([])
    const products = [...many.slice(1, 99), '🙂'.repeat(200), '.A.']
    expect(await admin.updateOrganisation({ orgId, products })).toEqual(
      settings(orgId, 1, products),
    )
  })
})

test('a caller without a credential neither reads nor sets them, and the operator does both', async () => {
  await using store = await createTestStore()
  for (const AUTH of ['keys', 'open']) {
    const open = await createTestApp({ ...unlimited, AUTH, DATABASE_URL: store.url })
    onTestFinished(() => open.close())
    const refused = expect.objectContaining({ code: 'FORBIDDEN' })
    await expect(as(open).updateOrganisation({ orgId: ORG, products: [] })).rejects.toEqual(refused)
    await expect(as(open).getOrganisation({ orgId: ORG })).rejects.toEqual(refused)
    await using operator = createOperator(open)
    const wanted = settings(ORG, 1, ['A'])
    expect(await operator.call.updateOrganisation({ orgId: ORG, products: ['A'] })).toEqual(wanted)
    expect(await operator.call.getOrganisation({ orgId: ORG })).toEqual(wanted)
  }
})
