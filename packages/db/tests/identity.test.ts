import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  type ApiKeyRow,
  type AuditEventRow,
  allOrganisations,
  anyApiKeyExists,
  type Database,
  deleteSigningKeys,
  findApiKey,
  insertApiKey,
  insertAuditEvent,
  insertSigningKey,
  listApiKeysPage,
  listAuditEventsPage,
  listSigningKeys,
  nextPosition,
  type OrgScope,
  recordApiKeyUse,
  revokeApiKeyRow,
} from '../src/index.ts'
import { createTestDb, kyselyOn } from '../src/testing.ts'
import { apiKeyRow, auditEventRow, idOf } from './support.ts'

/** Stores a key as the API does: its position is taken in the same write. */
function makeKey(db: Database, orgId: string, number: number): Promise<ApiKeyRow> {
  return db.write(async (tx) => {
    const position = await nextPosition(tx, 'last_key_position', { orgId, now: number })
    return insertApiKey(tx, apiKeyRow({ id: idOf(number), org_id: orgId, position }))
  })
}

async function append(db: Database, orgId: string, number: number): Promise<AuditEventRow> {
  return db.write(async (tx) => {
    const position = await nextPosition(tx, 'last_audit_position', { orgId, now: number })
    const row = auditEventRow({ id: idOf(number), org_id: orgId, position })
    await insertAuditEvent(tx, row)
    return row
  })
}

const all = { direction: 'after', boundary: 0, limit: 1000 } as const
const orgs = ['A', 'B', 'C']

test('concurrent keys and audit events are numbered without gaps in each organisation', async () => {
  await using db = await createTestDb()
  const numbers = Array.from({ length: 240 }, (_, i) => i + 1)
  const orgOf = (number: number) => orgs[(number * 7) % 3] as string
  const isKey = (number: number) => number % 2 === 0
  // Some fail after they took their position.
  const fails = (number: number) => number % 5 === 0
  const results = await Promise.allSettled(
    numbers.map((number) => {
      if (fails(number)) {
        return db.write(async (tx) => {
          const counter = isKey(number) ? 'last_key_position' : 'last_audit_position'
          await nextPosition(tx, counter, { orgId: orgOf(number), now: number })
          throw new Error('mine')
        })
      }
      return isKey(number) ? makeKey(db, orgOf(number), number) : append(db, orgOf(number), number)
    }),
  )
  expect(results.map(({ status }) => status === 'rejected')).toEqual(numbers.map(fails))
  for (const orgId of orgs) {
    const made = numbers.filter((number) => orgOf(number) === orgId && !fails(number))
    const keys = await listApiKeysPage(db.read, { orgId, ...all })
    const events = await listAuditEventsPage(db.read, { orgId, ...all })
    // In the order in which they were asked for, too.
    expect(keys.map(({ id }) => id)).toEqual(made.filter(isKey).map(idOf))
    expect(events.map(({ id }) => id)).toEqual(made.filter((number) => !isKey(number)).map(idOf))
    expect(keys.length).toBeGreaterThan(10)
    expect(events.length).toBeGreaterThan(10)
    for (const rows of [keys, events]) {
      expect(rows.map(({ position }) => position)).toEqual(rows.map((_, i) => i + 1))
    }
  }
})

test('the three counters of an organisation know nothing of each other', async () => {
  await using db = await createTestDb()
  const take = (counter: Parameters<typeof nextPosition>[1], orgId: string) =>
    db.write((tx) => nextPosition(tx, counter, { orgId, now: 1 }))
  expect(await take('last_audit_position', 'A')).toBe(1)
  expect(await take('last_audit_position', 'A')).toBe(2)
  expect(await take('last_key_position', 'A')).toBe(1)
  expect(await take('last_room_position', 'A')).toBe(1)
  expect(await take('last_audit_position', 'A')).toBe(3)
  expect(await take('last_key_position', 'B')).toBe(1)
  expect(await take('last_audit_position', 'B')).toBe(1)
  const rows = await kyselyOn(db.read)
    .selectFrom('organisations')
    .selectAll()
    .orderBy('id')
    .execute()
  expect(rows).toMatchObject([
    { id: 'A', last_room_position: 1, last_key_position: 1, last_audit_position: 3 },
    { id: 'B', last_room_position: 0, last_key_position: 1, last_audit_position: 1 },
  ])
})

test('pages of keys and audit events match the model in both directions', async () => {
  await using db = await createTestDb()
  const keys: ApiKeyRow[] = []
  const events: AuditEventRow[] = []
  for (let number = 1; number <= 20; number++) {
    const orgId = number % 3 === 0 ? 'B' : 'A'
    keys.push(await makeKey(db, orgId, number))
    events.push(await append(db, orgId, number))
  }
  await db.write((tx) => revokeApiKeyRow(tx, { orgId: 'A', keyId: idOf(1), now: 9 }))
  keys[0] = { ...(keys[0] as ApiKeyRow), revoked_at: 9 }
  const listing = fc.record({
    orgId: fc.constantFrom('A', 'B', 'nobody'),
    direction: fc.constantFrom('before' as const, 'after' as const),
    boundary: fc.oneof(fc.integer({ min: 0, max: 16 }), fc.constant(Number.MAX_SAFE_INTEGER)),
    limit: fc.integer({ min: 1, max: 6 }),
  })
  const wanted = <R extends { org_id: string; position: number }>(
    rows: R[],
    { orgId, direction, boundary, limit }: typeof listing extends fc.Arbitrary<infer L> ? L : never,
  ): R[] => {
    const own = rows.filter((row) => row.org_id === orgId)
    return direction === 'before'
      ? own.filter((row) => row.position <= boundary).slice(-limit)
      : own.filter((row) => row.position > boundary).slice(0, limit)
  }
  await fc.assert(
    fc.asyncProperty(listing, async (where) => {
      expect(await listApiKeysPage(db.read, where)).toEqual(wanted(keys, where))
      expect(await listAuditEventsPage(db.read, where)).toEqual(wanted(events, where))
    }),
  )
})

test('a key that was revoked still counts as one that exists', async () => {
  await using db = await createTestDb()
  const exists = () => anyApiKeyExists(db.read)
  expect(await exists()).toBe(false)
  await append(db, 'A', 1)
  expect(await exists()).toBe(false)
  await makeKey(db, 'A', 1)
  expect(await exists()).toBe(true)
  await db.write((tx) => revokeApiKeyRow(tx, { orgId: 'A', keyId: idOf(1), now: 5 }))
  expect(await exists()).toBe(true)
})

test('a key is revoked once, however many ask at once', async () => {
  await using db = await createTestDb()
  const key = await makeKey(db, 'A', 1)
  const other = await makeKey(db, 'A', 2)
  const revoke = (now: number) =>
    db.write((tx) =>
      revokeApiKeyRow(tx, { orgId: now % 2 ? 'A' : allOrganisations, keyId: idOf(1), now }),
    )
  const revoked = { ...key, revoked_at: 5 }
  expect(await Promise.all([5, 6, 7, 8].map(revoke))).toEqual([
    revoked,
    undefined,
    undefined,
    undefined,
  ])
  expect(await revoke(9)).toBeUndefined()
  expect(await listApiKeysPage(db.read, { orgId: 'A', ...all })).toEqual([revoked, other])
})

test("another organisation's key is neither found nor changed", async () => {
  await using db = await createTestDb()
  const key = await makeKey(db, 'A', 1)
  const theirs = await makeKey(db, 'B', 2)
  const keyId = key.id
  for (const orgId of ['B', '', 'a', 'A ', '%', 'A%']) {
    expect(await findApiKey(db.read, { orgId, keyId })).toBeUndefined()
    await db.write(async (tx) => {
      expect(await revokeApiKeyRow(tx, { orgId, keyId, now: 9 })).toBeUndefined()
      await recordApiKeyUse(tx, { orgId, keyId, now: 9 })
    })
    const listed = await listApiKeysPage(db.read, { orgId, ...all })
    expect(listed).toEqual(orgId === 'B' ? [theirs] : [])
  }
  for (const orgId of ['A', allOrganisations] satisfies OrgScope[]) {
    expect(await findApiKey(db.read, { orgId, keyId })).toEqual(key)
  }
  expect(await findApiKey(db.read, { orgId: allOrganisations, keyId: idOf(3) })).toBeUndefined()
  expect(await db.write((tx) => revokeApiKeyRow(tx, { orgId: 'A', keyId, now: 9 }))).toEqual({
    ...key,
    revoked_at: 9,
  })
  expect(await findApiKey(db.read, { orgId: allOrganisations, keyId: theirs.id })).toEqual(theirs)
})

test('the last use of a key is recorded, also of a revoked one, and of no other key', async () => {
  await using db = await createTestDb()
  const [first, second] = [await makeKey(db, 'A', 1), await makeKey(db, 'A', 2)]
  const use = (now: number) =>
    db.write((tx) => recordApiKeyUse(tx, { orgId: 'A', keyId: first.id, now }))
  const keys = () => listApiKeysPage(db.read, { orgId: 'A', ...all })
  await use(5)
  expect(await keys()).toEqual([{ ...first, last_used_at: 5 }, second])
  await db.write((tx) => revokeApiKeyRow(tx, { orgId: 'A', keyId: first.id, now: 6 }))
  await use(7)
  expect(await keys()).toEqual([{ ...first, last_used_at: 7, revoked_at: 6 }, second])
})

test('signing keys are listed newest first, and only those named are deleted', async () => {
  await using db = await createTestDb()
  const key = (id: string, created_at: number) => ({ id, secret: `secret of ${id}`, created_at })
  const [b, c, a, d] = [key('b', 2), key('c', 2), key('a', 3), key('d', 1)] as const
  const list = () => listSigningKeys(db.read)
  expect(await list()).toEqual([])
  await db.write(async (tx) => {
    for (const row of [b, c, a, d]) await insertSigningKey(tx, row)
  })
  expect(await list()).toEqual([a, c, b, d])
  await db.write((tx) => deleteSigningKeys(tx, []))
  expect(await list()).toEqual([a, c, b, d])
  await db.write((tx) => deleteSigningKeys(tx, ['c', 'd', 'nothing']))
  expect(await list()).toEqual([a, b])
})
