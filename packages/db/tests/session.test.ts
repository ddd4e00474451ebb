import { expect, test, vi } from 'vitest'
import { run } from '../src/engine/session.ts'
import { afterCommit, findReadMarker, type Session } from '../src/index.ts'
import { createTestDb, kyselyOn } from '../src/testing.ts'

const organisation = (id: string) => ({ id, created_at: 0, last_room_position: 0 })

/** Runs a compiled query. */
async function idsIn(session: Session): Promise<string[]> {
  const query = kyselyOn(session).selectFrom('organisations').select('id').orderBy('id')
  return (await run(session, query.compile())).map(({ id }) => id)
}

async function insert(session: Session, id: string): Promise<void> {
  await run(
    session,
    kyselyOn(session).insertInto('organisations').values(organisation(id)).compile(),
  )
}

test('a read during a snapshot does not see its state, and a snapshot sees no later one', async () => {
  await using db = await createTestDb()
  const add = (id: string) => db.write((tx) => insert(tx, id))
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

test('compiled queries and those that Kysely runs share the transaction', async () => {
  await using db = await createTestDb()
  const failed = db.write(async (tx) => {
    await insert(tx, 'a')
    await kyselyOn(tx).insertInto('organisations').values(organisation('b')).execute()
    expect(await idsIn(tx)).toEqual(['a', 'b'])
    await insert(tx, 'a')
  })
  await expect(failed).rejects.toSatisfy(db.isUniqueViolation)
  expect(await idsIn(db.read)).toEqual([])
})

test('commit hooks run after the commit, and not for a write that failed', async () => {
  await using db = await createTestDb()
  const seen: Promise<[string, string[]]>[] = []
  const write = (id: string, error?: Error) =>
    db.write(async (tx) => {
      await insert(tx, id)
      afterCommit(tx, () => {
        seen.push(idsIn(db.read).then((ids) => [id, ids]))
      })
      expect(seen).toEqual([])
      if (error) throw error
    })
  const results = await Promise.allSettled([write('a'), write('b', new Error('mine')), write('c')])
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  expect(await Promise.all(seen)).toEqual([
    ['a', ['a', 'c']],
    ['c', ['a', 'c']],
  ])
})

test('a commit hook that throws fails no write and warns', async () => {
  await using db = await createTestDb()
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
  const result = await db.write(async (tx) => {
    afterCommit(tx, () => {
      throw new Error('mine')
    })
    return 'stored'
  })
  await db.ping()
  expect(result).toBe('stored')
  expect(warn.mock.calls.map(([warning]) => String(warning))).toEqual([
    'Error: an after-commit hook failed',
  ])
  warn.mockRestore()
})

test('commit hooks are added in a write, and not after it', async () => {
  await using db = await createTestDb()
  const tx = await db.write(async (tx) => tx)
  expect(() => afterCommit(tx, () => undefined)).toThrow('commit hooks are added in a write')
})

test('the transaction of a write lock stores events and calls hooks', async () => {
  await using db = await createTestDb()
  const told = vi.fn()
  await db.withWriteLock(async (tx) => {
    await insert(tx, 'a')
    afterCommit(tx, told)
    expect(told).not.toHaveBeenCalled()
  })
  expect(told).toHaveBeenCalledTimes(1)
  expect(await idsIn(db.read)).toEqual(['a'])
})

test('a failed read rejects and never throws', async () => {
  await using db = await createTestDb()
  await db.write(async (tx) => {
    await kyselyOn(tx).schema.dropTable('read_markers').execute()
  })
  const where = { orgId: 'A', roomId: 'a', userId: 'a', side: true }
  const reading = findReadMarker(db.read, where)
  await expect(reading).rejects.toThrow(/read_markers/)
})
