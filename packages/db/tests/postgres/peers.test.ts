import fc from 'fast-check'
import { sql } from 'kysely'
import { expect, onTestFinished, test } from 'vitest'
import { appendEvent, type Database, openDatabase, type Peers } from '../../src/index.ts'
import { createTestStore, kyselyOn } from '../../src/testing.ts'
import { createProxy } from '../proxy.ts'
import { roomRow } from '../support.ts'

/** A second connection pool on the same database, as of another process. */
async function openPeer(url: string): Promise<Database & { peers: Peers }> {
  const db = openDatabase({ url })
  onTestFinished(() => db.close())
  await db.peers?.join()
  return db as Database & { peers: Peers }
}

async function createStore(): Promise<string> {
  const store = await createTestStore()
  onTestFinished(() => store[Symbol.asyncDispose]())
  return store.url
}

/** Collects the messages of a topic. `next(n)` resolves after n more. */
function hear(peers: Peers, topic: string) {
  const heard: unknown[] = []
  let wake: () => void = () => undefined
  peers.on(topic, (body) => {
    heard.push(body)
    wake()
  })
  return {
    heard,
    async next(count: number): Promise<unknown[]> {
      while (heard.length < count) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
      return heard.splice(0, count)
    },
  }
}

test('all other processes receive a message whole and in order, whatever its text and length', async () => {
  const url = await createStore()
  const [one, two, three] = [await openPeer(url), await openPeer(url), await openPeer(url)]
  const ears = [hear(one.peers, 'topic'), hear(two.peers, 'topic'), hear(three.peers, 'topic')]
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    // About as long as fits, and longer, in characters of one to four bytes.
    fc
      .tuple(fc.constantFrom('a', 'é', '語', '😀', '\\', '\u0000', "'"), fc.nat(9_000))
      .map(([unit, times]) => unit.repeat(times)),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(fc.record({ text, other: fc.jsonValue() })), async (bodies) => {
      const sent = JSON.parse(JSON.stringify(bodies))
      for (const body of sent) two.peers.send('topic', body)
      for (const ear of [ears[0], ears[2]]) expect(await ear?.next(sent.length)).toEqual(sent)
    }),
    { numRuns: 50 },
  )
  expect(ears[1]?.heard).toEqual([])
})

test('a listener receives the messages of each process in order', async () => {
  const url = await createStore()
  const speakers = [await openPeer(url), await openPeer(url)]
  const listener = await openPeer(url)
  const ear = hear(listener.peers, 'topic')
  // Of several notices each.
  const body = (who: number, count: number) => [who, count, 'x'.repeat(20_000)]
  for (let count = 0; count < 50; count++) {
    for (const [who, db] of speakers.entries()) db.peers.send('topic', body(who, count))
  }
  const heard = (await ear.next(100)) as [who: number, count: number, text: string][]
  for (const who of [0, 1]) {
    const expected = Array.from({ length: 50 }, (_, count) => body(who, count))
    expect(heard.filter(([from]) => from === who)).toEqual(expected)
  }
})

async function appendTo(db: Database, orgId: string): Promise<void> {
  await db.write(async (tx) => {
    appendEvent(tx, {
      type: 'room.updated',
      org_id: orgId,
      room_id: roomRow().id,
      created_at: 0,
    })
  })
}

async function insertRoom(db: Database): Promise<string> {
  const room = roomRow()
  await db.write(async (tx) => {
    await kyselyOn(tx)
      .insertInto('organisations')
      .values({ id: room.org_id, created_at: 0, last_room_position: 1 })
      .execute()
    await kyselyOn(tx).insertInto('rooms').values(room).execute()
  })
  return room.org_id
}

test('a commit notifies this process once and at once, and the other processes soon', async () => {
  const url = await createStore()
  const [one, two] = [await openPeer(url), await openPeer(url)]
  const orgId = await insertRoom(one)
  const own: string[][] = []
  one.onEvents((orgIds) => void own.push([...orgIds]))
  const woken = new Promise<string[]>((resolve) => two.onEvents((orgIds) => resolve([...orgIds])))
  await appendTo(one, orgId)
  expect(own).toEqual([[orgId]])
  expect(await woken).toEqual([orgId])
  // The next message after its own echo.
  const ear = hear(one.peers, 'topic')
  two.peers.send('topic', 'last')
  await ear.next(1)
  expect(own).toEqual([[orgId]])
})

test('a process that loses its connection reconnects, is notified of that, and receives messages again', async () => {
  const url = await createStore()
  await using proxy = await createProxy(url)
  const [one, two] = [await openPeer(url), await openPeer(proxy.url)]
  const ear = hear(two.peers, 'topic')
  let joined: () => void = () => undefined
  two.peers.onJoin(() => joined())
  const cuts = [
    () =>
      sql`select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and query ilike 'listen%'`.execute(kyselyOn(one.read)),
    async () => {
      await proxy.down()
      await proxy.up()
    },
  ]
  one.peers.onJoin(() => one.peers.send('topic', 'hello again'))
  for (const [number, cut] of cuts.entries()) {
    const back = new Promise<void>((resolve) => {
      joined = resolve
    })
    await cut()
    await back
    // The other one may still be on its way back.
    while (!ear.heard.includes(number)) {
      one.peers.send('topic', number)
      await sql`select pg_sleep(0.02)`.execute(kyselyOn(one.read))
    }
  }
})

test('joining an unreachable server does not fail and goes on until the server is there', async () => {
  const url = await createStore()
  await using proxy = await createProxy(url)
  await proxy.down()
  const db = openDatabase({ url: proxy.url })
  onTestFinished(() => db.close())
  const joined = new Promise<void>((resolve) => db.peers?.onJoin(resolve))
  await db.peers?.join()
  await proxy.up()
  await joined
})

test('a malformed notification is ignored', async () => {
  const url = await createStore()
  const [one, two] = [await openPeer(url), await openPeer(url)]
  const warned = new Promise<Error>((resolve) => process.once('warning', resolve))
  two.peers.on('bad', () => {
    throw new Error('of another version')
  })
  const ear = hear(two.peers, 'topic')
  for (const notice of ['', 'x', 'a 1 0/1 {', 'a 1 1/2 late', 'a 1 0/1 null', 'a 1 0/1 ["topic"']) {
    await sql`select pg_notify('dowell_chat', ${notice})`.execute(kyselyOn(one.read))
  }
  one.peers.send('bad', 1)
  one.peers.send('unknown', 1)
  one.peers.send('topic', 'well')
  expect(await ear.next(1)).toEqual(['well'])
  expect((await warned).message).toContain('another instance')
})

test('closing sends waiting messages, and works before joining', async () => {
  const url = await createStore()
  const [one, two] = [await openPeer(url), await openPeer(url)]
  const ear = hear(two.peers, 'topic')
  const said = Array.from({ length: 500 }, (_, number) => number)
  for (const number of said) one.peers.send('topic', number)
  await one.close()
  expect(await ear.next(500)).toEqual(said)
  one.peers.send('topic', 'too late')
  await openDatabase({ url }).close()
})
