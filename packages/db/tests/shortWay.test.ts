import type { Kysely } from 'kysely'
import { expect, test } from 'vitest'
import type { Tables } from '../src/tables.ts'
import { createTestDb } from '../src/testing.ts'

const organisation = (id: string) => ({ id, created_at: 0, last_room_position: 0 })

/** Asked as a compiled query. */
async function idsIn(db: Kysely<Tables>): Promise<string[]> {
  const query = db.selectFrom('organisations').select('id').orderBy('id').compile()
  const { rows } = await db.executeQuery(query)
  return rows.map(({ id }) => id)
}

test('a read beside a snapshot does not see its state, and a snapshot sees no later one', async () => {
  await using db = await createTestDb()
  const add = (id: string) =>
    db.write(async (tx) => {
      await tx.executeQuery(tx.insertInto('organisations').values(organisation(id)).compile())
    })
  await add('a')
  let beside: Promise<string[]> | undefined
  const seen = await db.snapshot(async (snapshot) => {
    const before = await idsIn(snapshot)
    await add('b')
    beside = idsIn(db.read)
    return [before, await idsIn(snapshot)]
  })
  expect(seen).toEqual([['a'], ['a']])
  expect(await beside).toEqual(['a', 'b'])
  expect(await idsIn(db.read)).toEqual(['a', 'b'])
})

test('what is compiled and what is not are one transaction', async () => {
  await using db = await createTestDb()
  const failed = db.write(async (tx) => {
    await tx.executeQuery(tx.insertInto('organisations').values(organisation('a')).compile())
    await tx.insertInto('organisations').values(organisation('b')).execute()
    expect(await idsIn(tx)).toEqual(['a', 'b'])
    await tx.executeQuery(tx.insertInto('organisations').values(organisation('a')).compile())
  })
  await expect(failed).rejects.toSatisfy(db.isUniqueViolation)
  expect(await idsIn(db.read)).toEqual([])
})
