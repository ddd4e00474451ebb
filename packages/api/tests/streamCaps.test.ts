import { expect, test } from 'vitest'
import type { Actor } from '../src/auth/actor.ts'
import { OpenStreams, type StreamCaps, type StreamOwner } from '../src/events/live/streamCaps.ts'
import { noCaps } from './support.ts'

const open: Actor = { kind: 'open', via: 'http' }
const key = (keyId: string): Actor => ({ kind: 'key', orgId: 'A', keyId, right: 'read' })
const user = (userId: string, side: boolean): Actor => ({
  kind: 'user',
  orgId: 'A',
  userId,
  side,
  rooms: undefined,
  keyId: 'key',
  expiresAt: Number.MAX_SAFE_INTEGER,
  token: { signingKeyId: 'signing key', issuedAt: 0 },
})
const customer = (userId: string) => user(userId, false)
const support = (userId: string) => user(userId, true)

let uniqueCount = 0
const unique = () => `${uniqueCount++}`

/** Each stream has its own address unless the test names one. */
function createStreams(caps: Partial<StreamCaps>) {
  const streams = new OpenStreams({ ...noCaps, ...caps })
  return {
    take: (actor: Actor, rest: Partial<StreamOwner> = {}) =>
      streams.take({ actor, address: unique(), orgId: 'A', ...rest }),
  }
}

const rejection = (code: string, message: string) =>
  expect.objectContaining({ code, message, retryAfter: 10 })

test('without caps any number of streams may be open', () => {
  const { take } = createStreams({ reserved: 50 })
  for (let i = 0; i < 1_000; i++) take(customer('ann'), { address: 'one' })
})

test('each customer, key and support user has its own cap', () => {
  const { take } = createStreams({ perActor: 2, perCustomer: 1 })
  const free = take(customer('ann'))
  const tooMany = rejection('TOO_MANY_REQUESTS', 'At most 1 streams may be open for one customer')
  expect(() => take(customer('ann'))).toThrow(tooMany)
  take(customer('bob'))
  for (const actor of [key('a'), key('b'), support('ann')]) {
    take(actor)
    take(actor)
    expect(() => take(actor)).toThrow(
      rejection('TOO_MANY_REQUESTS', 'At most 2 streams may be open for one key or user'),
    )
  }
  free()
  take(customer('ann'))
  expect(() => take(customer('ann'))).toThrow(tooMany)
})

test('the cap by address counts customers and callers without a credential only', () => {
  const { take } = createStreams({ perAddress: 3 })
  const office = { address: '192.0.2.1' }
  const free = take(open, office)
  take(customer('ann'), office)
  take(customer('bob'), { ...office, orgId: 'B' })
  for (const actor of [open, customer('eve')]) {
    expect(() => take(actor, office)).toThrow(
      rejection(
        'TOO_MANY_REQUESTS',
        'At most 3 streams may be open for the customers at one address',
      ),
    )
  }
  for (let i = 0; i < 5; i++) for (const actor of [key('a'), support('sam')]) take(actor, office)
  take(customer('eve'), { address: '192.0.2.2' })
  free()
  take(open, office)
})

test('the cap of an organisation reserves a part for its support team', () => {
  const { take } = createStreams({ perOrganisation: 10, reserved: 25 })
  // 25 % of ten, rounded down, is two.
  const customers = Array.from({ length: 8 }, () => take(customer(unique())))
  for (const actor of [open, customer('eve')]) {
    expect(() => take(actor)).toThrow(
      rejection(
        'TOO_MANY_REQUESTS',
        "At most 8 streams may be open for one organisation's customers",
      ),
    )
  }
  take(key('a'))
  const free = take(support('sam'))
  const full = rejection('TOO_MANY_REQUESTS', 'At most 10 streams may be open for one organisation')
  for (const actor of [key('b'), support('sue')]) expect(() => take(actor)).toThrow(full)
  take(customer('eve'), { orgId: 'B' })
  // The support team may use freed customer slots, but not the reverse.
  free()
  expect(() => take(customer('eve'))).toThrow(/customers/)
  take(support('sue'))
  customers[0]?.()
  take(support('sam'))
  expect(() => take(customer('eve'))).toThrow(full)
})

test('the cap of the process reserves a part for the support team', () => {
  const { take } = createStreams({ total: 5, reserved: 20 })
  for (let i = 0; i < 4; i++) take(i % 2 ? open : customer(unique()), { orgId: unique() })
  expect(() => take(open)).toThrow(
    rejection(
      'SERVICE_UNAVAILABLE',
      'At most 4 streams may be open for the customers on this server',
    ),
  )
  const free = take(support('sam'))
  const full = rejection('SERVICE_UNAVAILABLE', 'At most 5 streams may be open on this server')
  for (const actor of [key('a'), support('sue')]) expect(() => take(actor)).toThrow(full)
  free()
  take(key('a'))
})

test('a refused stream counts under no cap', () => {
  const { take } = createStreams({ total: 2, perCustomer: 1, perAddress: 2, perOrganisation: 2 })
  const home = { address: 'home' }
  const free = take(customer('ann'), home)
  for (let i = 0; i < 10; i++) expect(() => take(customer('ann'), home)).toThrow(/one customer/)
  take(customer('bob'), home)
  free()
  take(customer('ann'), home)
})
