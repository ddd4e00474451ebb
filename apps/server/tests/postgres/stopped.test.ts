import { setTimeout as sleep } from 'node:timers/promises'
import { atServer, createTestStore } from '@dowell-chat/db/testing'
import { expect, test } from 'vitest'
import { type Connection, openDirectly } from '../database.ts'
import { startServer } from '../serverProcess.ts'
import { type Answer, request } from '../sockets.ts'

const ORG = 'DOWELL12345'

function send(url: string, path: string, body: unknown): Promise<Answer> {
  const headers = { 'Content-Type': 'application/json' }
  return request(`${url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
}

const openRoom = (url: string, userId: string) =>
  send(url, '/api/v3/rooms', { userId, orgId: ORG, portfolioName: 'p', productName: 'q' })

/** Sends a message until it is acknowledged. @returns the milliseconds that took */
async function sendUntilDone(url: string, roomId: string, number: number): Promise<number> {
  const began = performance.now()
  for (;;) {
    const { status } = await send(url, `/api/v3/rooms/${roomId}/messages`, {
      messageData: `message ${number}`,
      side: false,
      author: 'client',
      clientMessageId: `client-message-${number}`,
    })
    if (status < 300) return performance.now() - began
    expect(status).toBe(503)
  }
}

test('an instance that is stopped in a write does not stop the others, and all is stored once when it goes on', async () => {
  await using store = await createTestStore()
  await using db = await openDirectly({ databaseUrl: store.url })
  const env = { DATABASE_URL: store.url, RATE_LIMIT_ACTOR: '0', RATE_LIMIT_ADDRESS: '0' }
  await using servers = new AsyncDisposableStack()
  const [one, two] = await Promise.all([startServer(env), startServer(env)])
  servers.use(one)
  servers.use(two)
  const { json } = await openRoom(two.url, 'ann')
  // Who opens a room has the organisation's row locked by then.
  await atServer(
    store.url,
    `create function wait_here() returns trigger language plpgsql
      as $$ begin perform pg_sleep(1); return new; end $$;
    create trigger wait_here before insert on rooms
      for each row when (new.user_id = 'stopped') execute function wait_here()`,
  )
  const opened = openRoom(one.url, 'stopped')
  while (!(await isAsleep(db))) await sleep(5)
  void one.kill('SIGSTOP')
  try {
    const waits = await Promise.all(
      Array.from({ length: 20 }, (_, number) => sendUntilDone(two.url, json.room.id, number)),
    )
    expect(Math.max(...waits)).toBeLessThan(15_000)
  } finally {
    void one.kill('SIGCONT')
  }
  const { status } = await opened
  expect([201, 503]).toContain(status)
  await openRoom(one.url, 'stopped')
  await sendUntilDone(one.url, json.room.id, 20)
  expect(await logged(db)).toEqual([
    'room.created',
    ...Array(20).fill('message.created'),
    'room.created',
    'message.created',
  ])
})

/** Whether somebody is in the trigger. */
async function isAsleep(db: Connection): Promise<boolean> {
  const asleep = await db.ask(
    "select pid from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'",
  )
  return asleep.length > 0
}

/** The types of all events, in the order of their positions, which have no gap. */
async function logged(db: Connection): Promise<unknown[]> {
  const events = await db.ask(
    'select position, type from events where org_id = ? order by position',
    ORG,
  )
  expect(events.map(({ position }) => Number(position))).toEqual(events.map((_, i) => i + 1))
  return events.map(({ type }) => type)
}
