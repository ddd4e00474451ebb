import { sql } from 'kysely'
import { expect, onTestFinished, test } from 'vitest'
import {
  type Database,
  type DatabaseOptions,
  openDatabase,
  type Transaction,
} from '../../src/index.ts'
import { atServer, createTestDb, kyselyOn, type TestDatabase } from '../../src/testing.ts'
import { createProxy, type TestProxy } from '../proxy.ts'

interface Behind {
  /** Reached through the proxy. */
  readonly db: Database
  readonly proxy: TestProxy
  /** Past the proxy. */
  readonly direct: TestDatabase
  values(): Promise<number[]>
}

async function createBehind(options: Omit<DatabaseOptions, 'url'> = {}): Promise<Behind> {
  const direct = await createTestDb()
  await direct.write((tx) =>
    sql`create table scratch (value bigint primary key)`.execute(kyselyOn(tx)),
  )
  const proxy = await createProxy(direct.url)
  const db = openDatabase({ ...options, url: proxy.url })
  onTestFinished(async () => {
    await proxy[Symbol.asyncDispose]()
    await db.close()
    await direct[Symbol.asyncDispose]()
  })
  return { db, proxy, direct, values: () => valuesOf(direct) }
}

async function valuesOf(db: Database): Promise<number[]> {
  const { rows } = await sql<{ value: number }>`select value from scratch order by value`.execute(
    kyselyOn(db.read),
  )
  return rows.map(({ value }) => value)
}

const put = (tx: Transaction, value: number) =>
  sql`insert into scratch values (${value})`.execute(kyselyOn(tx))

const unavailable = { name: 'DatabaseError', reason: 'unavailable' }

test('a write whose connection is lost before its commit is run again', async () => {
  const { db, direct, values } = await createBehind()
  let runs = 0
  await db.write(async (tx) => {
    runs++
    await put(tx, 1)
    if (runs === 1) {
      await sql`select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and state = 'idle in transaction'`.execute(
        kyselyOn(direct.read),
      )
    }
    await put(tx, 2)
  })
  expect(runs).toBe(2)
  expect(await values()).toEqual([1, 2])
})

test('all writes of a lost connection run again', async () => {
  const { db, direct, values } = await createBehind()
  let runs = 0
  await Promise.all(
    [1, 2, 3, 4, 5].map((value) =>
      db.write(async (tx) => {
        runs++
        await put(tx, value)
        if (runs === 3) {
          await sql`select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and state like 'idle in transaction%'`.execute(
            kyselyOn(direct.read),
          )
        }
      }),
    ),
  )
  expect(await values()).toEqual([1, 2, 3, 4, 5])
})

test.for([
  ['no commit', []],
  ['no answer to a commit', [1]],
] as const)('with %s no write resolves, and all works again afterwards', async ([way, stored]) => {
  const { db, proxy, values } = await createBehind()
  await db.ping()
  proxy.way = way
  await expect(db.write((tx) => put(tx, 1))).rejects.toMatchObject(unavailable)
  proxy.way = 'through'
  // The caller cannot know whether it is stored; a read shows it.
  await expect.poll(values).toEqual(stored)
  await db.write((tx) =>
    sql`insert into scratch values (1) on conflict (value) do nothing`.execute(kyselyOn(tx)),
  )
  await db.write((tx) => put(tx, 2))
  expect(await values()).toEqual([1, 2])
})

test('a lost server rejects all waiting calls at once, and is used again when it is back', async () => {
  const { db, proxy, values } = await createBehind()
  await Promise.all([db.ping(), db.write((tx) => put(tx, 0))])
  await proxy.down()
  for (let round = 0; round < 2; round++) {
    const results = await Promise.allSettled([
      ...Array.from({ length: 300 }, (_, value) => db.write((tx) => put(tx, value + 1))),
      db.ping(),
      db.snapshot((tx) => sql`select 1`.execute(kyselyOn(tx))),
    ])
    for (const result of results) {
      expect(result).toMatchObject({ status: 'rejected', reason: unavailable })
    }
  }
  await proxy.up()
  await Promise.all([db.ping(), db.write((tx) => put(tx, 1))])
  expect(await values()).toEqual([0, 1])
})

test('a server that stops answering is given up', async () => {
  const { db, proxy, values } = await createBehind({ statementTimeout: 100 })
  await Promise.all([db.ping(), db.write((tx) => put(tx, 0))])
  proxy.way = 'held'
  const results = await Promise.allSettled([db.ping(), db.write((tx) => put(tx, 1))])
  for (const result of results) {
    expect(result).toMatchObject({ status: 'rejected', reason: unavailable })
  }
  proxy.way = 'through'
  await expect.poll(() => db.ping().then(() => true)).toBe(true)
  await db.write((tx) => put(tx, 2))
  expect(await values()).toEqual([0, 2])
})

test('closing does not wait for a server that has stopped answering', async () => {
  const { db, proxy } = await createBehind({ statementTimeout: 100 })
  await Promise.all([db.ping(), db.write((tx) => put(tx, 0)), db.checkSchema(), db.peers?.join()])
  proxy.way = 'held'
  // The last has all the time that it wants.
  const asked = Promise.allSettled([db.ping(), db.write((tx) => put(tx, 1)), db.checkSchema()])
  await db.close()
  expect(await asked).toMatchObject([
    { status: 'rejected', reason: unavailable },
    { status: 'rejected', reason: unavailable },
    { status: 'rejected', reason: { reason: 'cannot-open' } },
  ])
})

test('connections that are lost while idle are replaced', async () => {
  const { db, direct, values } = await createBehind()
  await Promise.all([db.ping(), db.ping(), db.write((tx) => put(tx, 1))])
  await sql`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()`.execute(kyselyOn(direct.read))
  // A read may meet one that is just dying; a write is run again.
  await db.write((tx) => put(tx, 2))
  const isUp = () =>
    Promise.all([db.ping(), db.ping()]).then(
      () => true,
      () => false,
    )
  await expect.poll(isUp).toBe(true)
  expect(await values()).toEqual([1, 2])
})

test('a statement that takes too long rejects as busy', async () => {
  await using db = await createTestDb({ statementTimeout: 100 })
  const busy = { name: 'DatabaseError', reason: 'busy' }
  await expect(sql`select pg_sleep(30)`.execute(kyselyOn(db.read))).rejects.toMatchObject(busy)
  await expect(
    db.write((tx) => sql`select pg_sleep(30)`.execute(kyselyOn(tx))),
  ).rejects.toMatchObject(busy)
  await db.ping()
})

test('the connections that read cannot write', async () => {
  await using db = await createTestDb()
  await expect(
    kyselyOn(db.read)
      .insertInto('signing_keys')
      .values({ id: 'a', secret: 'b', created_at: 1 })
      .execute(),
  ).rejects.toThrow(/read-only/)
})

/** The error for an unusable server, without its name. */
async function refusalOf(url: string): Promise<string> {
  const db = openDatabase({ url })
  try {
    await db.migrateToLatest()
  } catch (error) {
    expect(error).toMatchObject({ name: 'DatabaseError', reason: 'cannot-open' })
    const { message } = error as Error
    expect(message).toContain(`cannot open the database ${db.location}: `)
    const { password } = new URL(url)
    if (password) expect(message).not.toContain(password)
    return message.slice(message.indexOf(db.location) + db.location.length + 2)
  } finally {
    await db.close()
  }
  throw new Error(`${db.location} was opened`)
}

test('a server that cannot be used is refused in one sentence', async () => {
  await using db = await createTestDb()
  const changed = (change: (url: URL) => void) => {
    const url = new URL(db.url)
    change(url)
    return refusalOf(url.href)
  }
  await using proxy = await createProxy(db.url)
  await proxy.down()
  expect(await refusalOf(proxy.url)).toBe('nobody listens at this address')
  await proxy.up()
  proxy.way = 'held'
  expect(await refusalOf(proxy.url)).toBe('it did not answer in time')
  const wrong = await changed((url) => {
    url.password = 'quite-another'
  })
  // A server that trusts everybody has no wrong password, but then this test is of no use.
  expect(wrong).toBe('the password is wrong')
  expect(
    await changed((url) => {
      url.pathname = 'nothing_here'
    }),
  ).toBe('there is no database of this name')
  expect(
    await changed((url) => {
      url.hostname = 'nowhere.invalid'
    }),
  ).toBe('its host is not known')
  expect(
    await changed((url) => {
      url.searchParams.set('sslmode', 'require')
    }),
  ).toBe('The server does not support SSL connections')
  const name = new URL(db.url).pathname.slice(1)
  await atServer(db.url, `alter database ${name} set default_transaction_read_only = on`)
  expect(await refusalOf(db.url)).toBe('it is read-only')
})
