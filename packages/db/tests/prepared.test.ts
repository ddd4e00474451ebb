import { expect, test } from 'vitest'
import {
  allOrganisations,
  appendMessage,
  findRoom,
  insertRoom,
  nextPosition,
  type OrgScope,
} from '../src/index.ts'
import { type Params, prepared, preparedInScope } from '../src/query/prepared.ts'
import { createTestDb } from '../src/testing.ts'
import { idOf, messageRow, roomRow } from './support.ts'

async function createRooms() {
  const db = await createTestDb()
  await db.write(async (tx) => {
    for (const [i, org_id] of ['A', 'A', 'B'].entries()) {
      const position = await nextPosition(tx, 'last_room_position', { orgId: org_id, now: 1 })
      await insertRoom(tx, roomRow({ id: idOf(i), org_id, position, user_id: `user ${i}` }))
    }
  })
  return db
}

test('a query is built once, and each call has its own parameters', async () => {
  await using db = await createRooms()
  let built = 0
  const find = prepared((db, where: Params<{ orgId: string; limit: number; least: number }>) => {
    built++
    return (
      db
        .selectFrom('rooms')
        .select('id')
        .where('org_id', '=', where.orgId)
        // A constant is not a parameter.
        .where('is_active', '=', 1)
        .where('position', '>=', where.least)
        .where('last_seq', '<', where.least)
        .orderBy('position')
        .limit(where.limit)
    )
  })
  const ids = async (orgId: string, least: number, limit: number) =>
    (await find(db.read, { orgId, least, limit })).map(({ id }) => id)
  // All at once, outside of a transaction and in one.
  const inWrite = db.write((tx) => find(tx, { orgId: 'B', least: 1, limit: 9 }))
  expect(
    await Promise.all([
      ids('A', 1, 9),
      ids('A', 1, 1),
      ids('A', 2, 9),
      ids('B', 1, 9),
      ids('C', 1, 9),
    ]),
  ).toEqual([[idOf(0), idOf(1)], [idOf(0)], [idOf(1)], [idOf(2)], []])
  expect(await inWrite).toEqual([{ id: idOf(2) }])
  expect(built).toBe(1)
})

test('a query in scope has one text for an organisation and one for all', async () => {
  await using db = await createRooms()
  const built: boolean[] = []
  const find = preparedInScope((db, where: Params<{ active: 0 | 1 }>, orgId) => {
    built.push(orgId !== undefined)
    const query = db.selectFrom('rooms').select('id').where('is_active', '=', where.active)
    return (orgId === undefined ? query : query.where('org_id', '=', orgId)).orderBy('id')
  })
  const count = async (orgId: OrgScope) => (await find(db.read, { orgId, active: 1 })).length
  const scopes: OrgScope[] = ['A', allOrganisations, 'B', allOrganisations, 'C', '', 'A']
  const counts = scopes.map(count)
  expect(await Promise.all(counts)).toEqual([2, 3, 1, 3, 0, 0, 2])
  expect(built.sort()).toEqual([false, true])
})

test('a call without a parameter does not compile', async () => {
  await using db = await createRooms()
  const find = prepared((db, where: Params<{ orgId: string }>) =>
    db.selectFrom('rooms').select('position').where('org_id', '=', where.orgId),
  )
  const [row] = await find(db.read, { orgId: 'A' })
  expect(row?.position satisfies number | undefined).toBe(1)
  const wrong = async () => {
    // @ts-expect-error The organisation is missing.
    await find(db.read, {})
    // @ts-expect-error An organisation is text.
    await find(db.read, { orgId: 1 })
    // @ts-expect-error The organisation is missing.
    await findRoom(db.read, { roomId: idOf(0) })
    // @ts-expect-error So it is here.
    await db.write((tx) => appendMessage(tx, { roomId: idOf(0) }, messageRow()))
    prepared((db, where: Params<{ at: number }>) =>
      // @ts-expect-error Columns and slots have types.
      db.selectFrom('rooms').where('id', '=', where.at),
    )
  }
  void wrong
})
