import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { as, bearer, createOrganisation, unlimited } from './credentials.ts'
import {
  type EventReader,
  outcomeOfStream,
  type StreamVariant,
  streamVariants,
} from './eventReader.ts'
import { createTestApp, json, type TestApp } from './support.ts'

const ORG = 'DOWELL12345'
const variants = streamVariants.filter(({ name }) => name === 'onInboxEvents')
const [rest, trpc] = variants as [StreamVariant, StreamVariant]

/** Opens inboxes on one wire, and closes them at the end. */
class Crowd implements AsyncDisposable {
  readonly #app: TestApp
  readonly #variant: StreamVariant
  readonly readers: EventReader[] = []

  constructor(app: TestApp, variant: StreamVariant) {
    this.#app = app
    this.#variant = variant
  }

  /** @returns 200, or the status of the refusal */
  async open(token: string, address = '192.0.2.1', orgId = ORG): Promise<number> {
    const headers = { ...bearer(token), 'X-Forwarded-For': address }
    const reader = await this.#variant.open(this.#app, { orgId }, headers)
    this.readers.push(reader)
    return outcomeOfStream(reader)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const reader of this.readers) reader.close()
  }
}

async function createCrowd(variant: StreamVariant, env: Record<string, string>) {
  const app = await createTestApp({ ...unlimited, TRUST_PROXY: 'loopback', ...env })
  const { keys, tokens } = await createOrganisation(app, ORG)
  const admin = as(app, keys.admin.secret)
  const tokenOf = async (userId: string) =>
    (await admin.createUserToken({ orgId: ORG, userId, side: false })).token
  const customers = await Promise.all(['ann', 'bob', 'eve'].map(tokenOf))
  const crowd = new Crowd(app, variant)
  return {
    app,
    crowd,
    keys,
    tokens,
    customers: customers as [string, string, string],
    async [Symbol.asyncDispose]() {
      await crowd[Symbol.asyncDispose]()
      await app[Symbol.asyncDispose]()
    },
  }
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(20)
}

test.for(variants.map((variant) => [variant.title, variant] as const))(
  'three customers of one address cannot keep the support desk out, over %s',
  async ([, variant]) => {
    await using all = await createCrowd(variant, { STREAMS_MAX: '25', STREAMS_RESERVED: '20' })
    const { crowd, keys, tokens, customers } = all
    const outcomes: number[] = []
    for (let i = 0; i < 10; i++) {
      for (const token of customers) outcomes.push(await crowd.open(token))
    }
    expect(outcomes.slice(0, 20)).toEqual(Array(20).fill(200))
    expect(outcomes.slice(20)).toEqual(Array(10).fill(503))
    // Of the same organisation, and at the same address.
    const desk = [keys.support.secret, tokens.support, keys.read.secret, keys.admin.secret]
    for (const credential of desk) expect(await crowd.open(credential)).toBe(200)
    expect(await crowd.open(tokens.support)).toBe(200)
    expect(await crowd.open(tokens.support)).toBe(503)
    // The place of a customer who leaves is the next customer's at once.
    crowd.readers[0]?.close()
    await until(async () => (await crowd.open(customers[0])) === 200)
    expect(await crowd.open(customers[1])).toBe(503)
  },
)

test.for(variants.map((variant) => [variant.title, variant] as const))(
  'one customer, one address and one organisation have so many, over %s',
  async ([, variant]) => {
    await using all = await createCrowd(variant, {
      STREAMS_PER_CUSTOMER: '2',
      STREAMS_PER_ADDRESS: '3',
      STREAMS_PER_ORGANISATION: '6',
      STREAMS_RESERVED: '17',
    })
    const { app, crowd, tokens, customers } = all
    const [ann, bob, eve] = customers
    const { token: streamToken } = await as(app, ann).createStreamToken({})
    expect(await crowd.open(ann)).toBe(200)
    // A stream token counts for whoever asked for it.
    const byToken = await variant.open(app, { orgId: ORG }, {}, `&streamToken=${streamToken}`)
    crowd.readers.push(byToken)
    expect(await outcomeOfStream(byToken)).toBe(200)
    expect(await crowd.open(ann)).toBe(429)
    // The half of an IPv6 address that one customer has is one address.
    expect(await crowd.open(bob, '2001:db8::1')).toBe(200)
    expect(await crowd.open(bob, '2001:db8::2')).toBe(200)
    expect(await crowd.open(eve, '2001:db8::3')).toBe(200)
    expect(await crowd.open(eve, '2001:db8::4')).toBe(429)
    // Five of six are for customers, and all of them open.
    expect(await crowd.open(eve, '192.0.2.7')).toBe(429)
    expect(await crowd.open(tokens.support)).toBe(200)
    expect(await crowd.open(tokens.support)).toBe(429)
  },
)

test('a refusal names the cap and says when to come again', async () => {
  await using all = await createCrowd(rest, { STREAMS_PER_CUSTOMER: '1', STREAMS_MAX: '2' })
  const { app, crowd, customers, keys } = all
  const refusalOf = async (credential: string) => {
    const answer = await app.fetch(`/api/v3/events?orgId=${ORG}`, { headers: bearer(credential) })
    const { code, message } = (await answer.json()) as { code: string; message: string }
    return [answer.status, answer.headers.get('retry-after'), code, message]
  }
  expect(await crowd.open(customers[0])).toBe(200)
  expect(await refusalOf(customers[0])).toEqual([
    429,
    '10',
    'TOO_MANY_REQUESTS',
    'At most 1 streams may be open for one customer',
  ])
  expect(await crowd.open(customers[1])).toBe(200)
  expect(await refusalOf(keys.read.secret)).toEqual([
    503,
    '10',
    'SERVICE_UNAVAILABLE',
    'At most 2 streams may be open on this server',
  ])
})

test('HEAD, and what tRPC’s adapter refuses, take no place', async () => {
  await using all = await createCrowd(trpc, { STREAMS_PER_CUSTOMER: '1' })
  const { app, crowd, customers } = all
  const [ann] = customers
  const headers = bearer(ann)
  const input = encodeURIComponent(JSON.stringify({ json: { orgId: ORG } }))
  const batch = encodeURIComponent(JSON.stringify({ 0: { json: { orgId: ORG } } }))
  for (const [path, init] of [
    [`/api/v3/events?orgId=${ORG}`, { method: 'HEAD' }],
    [`/trpc/onInboxEvents?input=${input}`, { method: 'HEAD' }],
    [`/trpc/onInboxEvents?batch=1&input=${batch}`, {}],
    ['/trpc/onInboxEvents', json({ json: { orgId: ORG } })],
  ] as const) {
    const sent = { ...init, headers: { ...('headers' in init ? init.headers : {}), ...headers } }
    await (await app.fetch(path, sent)).arrayBuffer()
  }
  expect(await crowd.open(ann)).toBe(200)
})
