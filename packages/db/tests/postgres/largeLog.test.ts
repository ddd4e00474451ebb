import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { eventsInScope, openDatabase } from '../../src/index.ts'
import { createTestDb, kyselyOn, type TestDatabase } from '../../src/testing.ts'

const ROOMS = 50_000
const EVENTS_PER_ROOM = 4
const ORGANISATIONS = 50

/** Many organisations whose rooms and events lie between each other's. */
async function fill(db: TestDatabase): Promise<void> {
  await db.write(async (tx) => {
    const on = kyselyOn(tx)
    await sql`insert into organisations (id, created_at, last_room_position)
      select 'org ' || i, 0, 0 from generate_series(0, ${ORGANISATIONS} - 1) as i`.execute(on)
    await sql`insert into rooms (id, org_id, position, event_id, user_id, portfolio_name, product_name, room_room_id,
        is_active, last_seq, created_at, updated_at)
      select lpad(i::text, 24, '0'), 'org ' || i % ${ORGANISATIONS}, i / ${ORGANISATIONS} + 1, '', i::text, '',
        'product ' || i % 3, '', 1, 0, 0, 0
      from generate_series(0, ${ROOMS} - 1) as i`.execute(on)
    await sql`insert into events (org_id, position, room_id, type, created_at)
      select org_id, row_number() over (partition by org_id order by number, id), id, 'room.updated', 0
      from rooms, generate_series(1, ${EVENTS_PER_ROOM}) as number`.execute(on)
    await sql`analyze`.execute(on)
  })
}

interface Reads {
  /** Rows of `rooms` that scans of the whole table read. */
  scanned: number
  /** Scans of an index of `events`. */
  eventScans: number
}

async function readsOf(db: TestDatabase): Promise<Reads> {
  const { rows } = await sql<Reads>`
    select sum(seq_tup_read) filter (where relname = 'rooms')::bigint as scanned,
      sum(idx_scan) filter (where relname = 'events')::bigint as "eventScans"
    from pg_stat_user_tables`.execute(kyselyOn(db.read))
  return rows[0] as Reads
}

test('the first calls of a connection read a page of events without a scan of all rooms', async () => {
  await using db = await createTestDb({ statementTimeout: 120_000, busyTimeout: 120_000 })
  await fill(db)
  // Analysing has read all rooms, and the server counts with a delay.
  await expect.poll(() => readsOf(db)).toMatchObject({ eventScans: expect.any(Number) })
  const before = await readsOf(db)
  const server = openDatabase({ url: db.url, poolSize: 2 })
  try {
    const range = { orgId: 'org 7', after: 0, upTo: 2_000, limit: 50, maxBytes: 1_000_000 }
    for (let call = 0; call < 6; call++) {
      const { events } = await eventsInScope(server.read, range)
      expect(events).toHaveLength(50)
    }
    await eventsInScope(server.read, { ...range, productName: 'product 1' })
  } finally {
    await server.close()
  }
  await expect
    .poll(async () => (await readsOf(db)).eventScans)
    .toBeGreaterThanOrEqual(before.eventScans + 7)
  expect((await readsOf(db)).scanned).toBe(before.scanned)
})
