import { setTimeout as sleep } from 'node:timers/promises'
import { type Database, openDatabase } from '@dowell-chat/db'
import { kyselyOn } from '@dowell-chat/db/testing'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type PostgresServer, startPostgres } from '../../../../packages/db/tests/postgresServer.ts'
import { createBalancer } from '../balancer.ts'
import { type Line, listen, write } from '../chaos.ts'
import { EventReader, type StreamVariant, streamVariants } from '../eventReader.ts'
import { type ServerProcess, startServer } from '../serverProcess.ts'
import { type Answer, request } from '../sockets.ts'

/** How long is written; a minute says more, and CHAOS_SECONDS=60 takes it. */
const SECONDS = Number(process.env.CHAOS_SECONDS ?? 12)

const ORG = 'DOWELL12345'
const ROOMS = 5
const WRITERS = 15
const INSTANCES = 3

const stack = new AsyncDisposableStack()
let server: PostgresServer
let db: Database
let env: Record<string, string>
/** The instances, each on a port that it keeps. */
let instances: ServerProcess[]
let balancer: { url: string }

beforeAll(async () => {
  // One of its own: it is restarted.
  server = await startPostgres()
  stack.defer(() => server.stop())
  env = {
    DATABASE_URL: server.url,
    RATE_LIMIT_ACTOR: '0',
    RATE_LIMIT_ADDRESS: '0',
    STREAMS_PER_ACTOR: '0',
  }
  instances = await startTogether(env)
  stack.defer(async () => {
    await Promise.all(instances.map((instance) => instance[Symbol.asyncDispose]()))
  })
  balancer = stack.use(await createBalancer(instances.map(portOf)))
  db = openDatabase({ url: server.url })
  stack.defer(() => db.close())
})

afterAll(() => stack.disposeAsync())

function startTogether(env: Record<string, string>): Promise<ServerProcess[]> {
  return Promise.all(Array.from({ length: INSTANCES }, () => startServer(env)))
}

function portOf({ url }: { url: string }): number {
  return Number(new URL(url).port)
}

function send(url: string, path: string, body?: unknown, method = 'POST'): Promise<Answer> {
  if (body === undefined) return request(`${url}${path}`)
  const headers = { 'Content-Type': 'application/json' }
  return request(`${url}${path}`, { method, headers, body: JSON.stringify(body) })
}

function at(index: number): string {
  return (instances[index % INSTANCES] as ServerProcess).url
}

async function openRoom(userId: string, url = balancer.url): Promise<string> {
  const identity = { userId, orgId: ORG, portfolioName: 'p', productName: 'q' }
  const { json } = await send(url, '/api/v3/rooms', identity)
  return json.room.id
}

test('instances that start together migrate an empty database once, and all serve', async () => {
  // One that migrated again would not have started: its tables are there.
  for (const { url } of instances) expect((await send(url, '/readyz')).status).toBe(200)
})

test('a user who opens a room on all instances at once has one', async () => {
  const users = Array.from({ length: 5 }, (_, number) => `at once ${number}`)
  await Promise.all(
    users.map(async (user) => {
      const ids = await Promise.all(
        Array.from({ length: 4 * INSTANCES }, (_, index) => openRoom(user, at(index))),
      )
      expect(new Set(ids).size).toBe(1)
    }),
  )
})

/** Listens to a room on one instance. */
function hear(index: number, roomId: string, side: boolean): Promise<EventReader> {
  return EventReader.open({ url: at(index) }, `/api/v3/rooms/${roomId}/events?side=${side}`)
}

async function whenPresent(reader: EventReader, customer: boolean, support: boolean) {
  for (;;) {
    const told = await reader.nextOf('presence')
    if (told.customer === customer && told.support === support) return
  }
}

/** Typing on one instance is heard on another, and ends with the message that is sent to a third. */
async function typeAcross(roomId: string): Promise<void> {
  await using customer = await hear(0, roomId, false)
  await using support = await hear(1, roomId, true)
  for (const reader of [customer, support]) await whenPresent(reader, true, true)
  const amara = { userId: 'amara', side: true }
  await send(at(2), `/api/v3/rooms/${roomId}/typing`, { ...amara, isTyping: true })
  for (const reader of [customer, support]) {
    expect(await reader.nextOf('typing')).toMatchObject({ ...amara, roomId, isTyping: true })
  }
  const text = { messageData: 'here I am', side: true, author: 'amara' }
  await send(at(0), `/api/v3/rooms/${roomId}/messages`, text)
  for (const reader of [customer, support]) {
    // Which of the two comes first is nobody's promise.
    const both = [
      await reader.nextOf('typing', 'message.created'),
      await reader.nextOf('typing', 'message.created'),
    ].sort((a, b) => (a.type < b.type ? -1 : 1))
    expect(both).toMatchObject([{ message: text }, { ...amara, isTyping: false }])
  }
  support.close()
  await whenPresent(customer, true, false)
}

test('who types and who is there is known on all instances', async () => {
  await typeAcross(await openRoom('typing'))
})

test('a budget is spent on all instances at once', async () => {
  const budget = 50
  await using limited = new AsyncDisposableStack()
  const own = await startTogether({ ...env, RATE_LIMIT_ACTOR: String(budget) })
  for (const instance of own) limited.use(instance)
  const refused = new Set<string>()
  let answered = 0
  for (let count = 0; refused.size < INSTANCES && count < INSTANCES * budget; count++) {
    const { url } = own[count % INSTANCES] as ServerProcess
    const { status } = await send(url, `/api/v3/rooms?orgId=${ORG}`)
    if (status === 429) refused.add(url)
    else answered++
    await sleep(5)
  }
  expect(refused.size).toBe(INSTANCES)
  expect(answered).toBeGreaterThanOrEqual(budget)
  // Alone, each would have answered as many as all of them may.
  expect(answered).toBeLessThan(2 * budget)
})

test(
  'writers, readers, killed instances and a restarted database: nobody misses an event or hears one twice',
  async () => {
    const rooms = await Promise.all(
      Array.from({ length: ROOMS }, (_, number) => openRoom(`user ${number}`)),
    )
    const first = await headOf()
    const { json } = await send(balancer.url, `/api/v3/event-log?orgId=${ORG}&limit=200`)
    expect(json.hasAfter).toBe(false)

    const over = new AbortController()
    const readers = Array.from({ length: 12 }, (_, number) => {
      const variant = streamVariants[number % streamVariants.length] as StreamVariant
      const room = number % ROOMS
      const input = {
        onRoomEvents: { roomId: rooms[room] },
        onInboxEvents: { orgId: ORG },
        onUserEvents: { orgId: ORG, userId: `user ${room}` },
      }[variant.name]
      const heard: Line[] = []
      const done = listen(variant, balancer.url, input, json.after, heard, over.signal)
      return {
        variant,
        room: variant.name === 'onInboxEvents' ? undefined : rooms[room],
        heard,
        done,
      }
    })

    let written = 0
    const writing = performance.now() + SECONDS * 1000
    const writers = Array.from({ length: WRITERS }, async (_, number) => {
      for (let count = 0; performance.now() < writing; count++) {
        const room = rooms[(number + count) % ROOMS] as string
        await write(balancer.url, room, `${number}-${count}`)
        written++
        await sleep(Math.random() * 40)
      }
    })
    const harms = [kill(0), kill(1), () => server.restart(), kill(2)]
    for (const [index, harm] of harms.entries()) {
      const share = (index + 1) / (harms.length + 1)
      await sleep(Math.max(0, writing - (1 - share) * SECONDS * 1000 - performance.now()))
      await harm()
    }
    await Promise.all(writers)

    const rows = await logAfter(first)
    const logOf = (room: string | undefined): Line[] =>
      rows
        .filter((row) => room === undefined || row.room === room)
        .map(({ position, type, text }) => [position, type, text])
    // Each answered message is there, and once.
    expect(new Set(rows.map(({ text }) => text)).size).toBe(rows.length)
    expect(rows.length).toBe(written)
    const positions = rows.map(({ position }) => position)
    expect(positions).toEqual(rows.map((_, index) => first + 1 + index))

    for (const { room, heard } of readers) {
      const last = logOf(room).at(-1)?.[0] ?? 0
      while ((heard.at(-1)?.[0] ?? 0) < last) await sleep(20)
    }
    over.abort()
    for (const { variant, room, heard, done } of readers) {
      await done
      expect(heard, variant.title).toEqual(logOf(room))
    }
    // They hear of each other again.
    await typeAcross(rooms[0] as string)
    process.stdout.write(
      `${written} messages on ${INSTANCES} instances, ${readers.length} readers\n`,
    )
  },
  SECONDS * 1000 + 180_000,
)

function kill(index: number): () => Promise<void> {
  return async () => {
    const old = instances[index] as ServerProcess
    await old.kill('SIGKILL')
    instances[index] = await startServer({ ...env, PORT: String(portOf(old)) })
  }
}

async function headOf(): Promise<number> {
  const { last_event_position: head } = await kyselyOn(db.read)
    .selectFrom('organisations')
    .select('last_event_position')
    .where('id', '=', ORG)
    .executeTakeFirstOrThrow()
  return head
}

/** What the database says that happened, past all of the server's code. */
async function logAfter(position: number) {
  return kyselyOn(db.read)
    .selectFrom('events as e')
    .leftJoin('messages as m', (join) =>
      join
        .onRef('m.org_id', '=', 'e.org_id')
        .onRef('m.room_id', '=', 'e.room_id')
        .onRef('m.seq', '=', 'e.message_seq'),
    )
    .select(['e.position', 'e.type', 'e.room_id as room', 'm.message_data as text'])
    .where('e.org_id', '=', ORG)
    .where('e.position', '>', position)
    .orderBy('e.position')
    .execute()
}
