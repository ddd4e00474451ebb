import { readdirSync } from 'node:fs'
import Sqlite from 'better-sqlite3'
import { type CompiledQuery, Kysely, SqliteDialect } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { anyOrganisation } from '../src/index.ts'
import * as messages from '../src/queries/messages.ts'
import * as organisations from '../src/queries/organisations.ts'
import * as rooms from '../src/queries/rooms.ts'
import type { Tables } from '../src/tables.ts'
import { createTestDb, type TestDatabase } from '../src/testing.ts'
import { idOf, messageRow, roomRow } from './support.ts'

type Run = (db: Kysely<Tables>) => Promise<unknown>

const orgId = 'org 0'
const roomId = idOf(1)
const message = { orgId, roomId }
const byId = 'SEARCH rooms USING INDEX sqlite_autoindex_rooms_1 (id=?)'
const byPosition = 'SEARCH rooms USING INDEX rooms_by_position (org_id=? AND position'
const byProduct =
  'SEARCH rooms USING INDEX rooms_by_product (org_id=? AND product_name=? AND position'
const update = { roomId, lastMessage: 'message', now: 1 }

/** One call of each query for each text that it can have, and the plan of each of its statements. */
const cases: Record<string, [what: string, run: Run, plans: string[][]][]> = {
  insertMessage: [
    ['', (db) => messages.insertMessage(db, messageRow({ id: 'f'.repeat(24), seq: 99_999 })), [[]]],
  ],
  findMessageByClientId: [
    [
      '',
      (db) =>
        messages.findMessageByClientId(db, {
          ...message,
          side: true,
          author: 'support 1',
          clientMessageId: 'client-message-0001',
        }),
      [
        [
          'SEARCH messages USING INDEX messages_by_client_id (room_id=? AND side=? AND author=? AND client_message_id=? AND org_id=?)',
        ],
      ],
    ],
  ],
  findMessage: [
    [
      '',
      (db) => messages.findMessage(db, { ...message, messageId: idOf(1) }),
      [['SEARCH messages USING INDEX messages_by_id (id=?)']],
    ],
  ],
  messagesInRange: [
    [
      '',
      (db) => messages.messagesInRange(db, { ...message, from: 10, to: 60 }),
      [['SEARCH messages USING PRIMARY KEY (org_id=? AND room_id=? AND seq>? AND seq<?)']],
    ],
  ],
  nextRoomPosition: [
    ['', (db) => organisations.nextRoomPosition(db, { orgId, now: 1 }), [[]]],
    ['(new)', (db) => organisations.nextRoomPosition(db, { orgId: 'new', now: 1 }), [[]]],
  ],
  insertRoom: [
    [
      '',
      (db) =>
        rooms.insertRoom(
          db,
          roomRow({ id: 'f'.repeat(24), org_id: orgId, position: 99_999, user_id: 'new' }),
        ),
      [[]],
    ],
  ],
  findActiveRoom: [
    [
      '',
      (db) =>
        rooms.findActiveRoom(db, {
          orgId,
          userId: 'user 1',
          portfolioName: 'umair',
          productName: 'product 1',
        }),
      [
        [
          'SEARCH rooms USING INDEX rooms_one_active (org_id=? AND user_id=? AND portfolio_name=? AND product_name=?)',
        ],
      ],
    ],
  ],
  findRoom: [
    ['(own)', (db) => rooms.findRoom(db, { orgId, roomId }), [[byId]]],
    ['(any)', (db) => rooms.findRoom(db, { orgId: anyOrganisation, roomId }), [[byId]]],
  ],
  advanceRoom: [
    ['(own)', (db) => rooms.advanceRoom(db, { orgId, ...update }), [[byId]]],
    ['(any)', (db) => rooms.advanceRoom(db, { orgId: anyOrganisation, ...update }), [[byId]]],
  ],
  setRoomActive: [
    [
      '(deletes)',
      (db) => rooms.setRoomActive(db, { orgId, roomId, isActive: false, now: 1 }),
      [[byId]],
    ],
    [
      '(again)',
      (db) => rooms.setRoomActive(db, { orgId, roomId, isActive: false, now: 1 }),
      [[byId], [byId]],
    ],
    [
      '(restores, any)',
      (db) => rooms.setRoomActive(db, { orgId: anyOrganisation, roomId, isActive: true, now: 1 }),
      [[byId]],
    ],
  ],
  roomsNextTo: [
    ['(before)', listing('before'), [[`${byPosition}<?)`]]],
    ['(after)', listing('after'), [[`${byPosition}>?)`]]],
    ['(before, product)', listing('before', 'product 1'), [[`${byProduct}<?)`]]],
    ['(after, product)', listing('after', 'product 1'), [[`${byProduct}>?)`]]],
    ['(newest)', listing('before', undefined, Number.MAX_SAFE_INTEGER), [[`${byPosition}<?)`]]],
    // A product that most rooms have: its index must win all the same, or a page reads the others' rooms too.
    ['(common product)', listing('before', 'product 0'), [[`${byProduct}<?)`]]],
    ['(unknown product)', listing('after', 'nothing'), [[`${byProduct}>?)`]]],
  ],
}

function listing(direction: 'before' | 'after', productName?: string, boundary = 500): Run {
  return (db) => rooms.roomsNextTo(db, { orgId, productName, direction, boundary, limit: 51 })
}

test('every query of packages/db/src/queries has a case', async () => {
  const folder = new URL('../src/queries/', import.meta.url)
  const modules = await Promise.all(readdirSync(folder).map((name) => import(`${folder}${name}`)))
  const exported = modules.flatMap((module) => Object.keys(module))
  expect(Object.keys(cases).sort()).toEqual(exported.sort())
})

describe.for([
  ['empty', 0, false],
  ['empty, analysed', 0, true],
  ['full', 8000, false],
  ['full, analysed', 8000, true],
] as const)('in a database that is %s', ([, size, analysed]) => {
  let testDb: TestDatabase
  let connection: Sqlite.Database
  let db: Kysely<Tables>
  const statements: CompiledQuery[] = []

  beforeAll(async () => {
    testDb = await createTestDb()
    connection = new Sqlite(testDb.location)
    connection.pragma('synchronous = off')
    // Their checks are part of a plan, even those that SQLite skips unless an earlier statement left a violation.
    connection.pragma('foreign_keys = off')
    fill(connection, size)
    if (analysed) connection.exec('analyze')
    db = new Kysely<Tables>({
      dialect: new SqliteDialect({ database: connection }),
      log: (event) => void statements.push(event.query),
    })
  })
  afterAll(async () => {
    connection.close()
    await testDb[Symbol.asyncDispose]()
  })

  /** The plans of the statements that `run` makes: for these very values, and for none in particular. */
  async function plansOf(run: Run): Promise<{ real: string[][]; blind: string[][] }> {
    statements.length = 0
    await run(db)
    const explain = (replace: (parameter: unknown) => unknown) =>
      statements.map(({ sql, parameters }) =>
        connection
          .prepare<unknown[], { detail: string }>(`explain query plan ${sql}`)
          .all(...parameters.map(replace))
          .map(({ detail }) => detail),
      )
    return { real: explain((parameter) => parameter), blind: explain(() => null) }
  }

  test.for(
    Object.entries(cases).flatMap(([name, runs]) => runs.map((run) => [name, ...run] as const)),
  )('%s %s reads by an index and sorts nothing', async ([, , run, wanted]) => {
    const plans = await plansOf(run)
    expect(plans.real).toEqual(wanted)
    expect(plans.real.flat().filter(isSlow)).toEqual([])
    // An index that is used only because of a value costs a new plan at every call.
    expect(plans.blind).toEqual(wanted)
  })

  test('a scan and a sort would be noticed', async () => {
    const ofOrg = (db: Kysely<Tables>) =>
      db.selectFrom('rooms').selectAll().where('org_id', '=', orgId)
    const all = (db: Kysely<Tables>) => db.selectFrom('rooms').selectAll()
    const scan = await plansOf((db) => all(db).where('event_id', '=', 'x').execute())
    const sort = await plansOf((db) => ofOrg(db).orderBy('updated_at').execute())
    expect(scan.real.flat().some(isSlow)).toBe(true)
    expect(sort.real.flat().some(isSlow)).toBe(true)
  })
})

const isSlow = (detail: string) => /^SCAN|TEMP B-TREE/.test(detail)

/** Organisations, rooms, products and talk of very different sizes, as they are in life. */
function fill(connection: Sqlite.Database, size: number): void {
  const insert = (table: string, row: object) =>
    connection
      .prepare(
        `insert into ${table} (${Object.keys(row)}) values (${Object.keys(row).map(() => '?')})`,
      )
      .run(Object.values(row))
  const positions = new Map<string, number>()
  /** 0 for half of all, 1 for a quarter, and so on. */
  const skewed = (i: number) => Math.clz32((i * 2_654_435_761) >>> 0)
  connection.transaction(() => {
    // The room and the organisation that the cases name are always there.
    for (let i = 0; i < Math.max(1, size / 4); i++) {
      const org = `org ${i === 0 ? 0 : skewed(i)}`
      const position = (positions.get(org) ?? 0) + 1
      positions.set(org, position)
      if (position === 1) insert('organisations', { id: org, created_at: 0, last_room_position: 1 })
      insert(
        'rooms',
        roomRow({
          id: idOf(i + 1),
          org_id: org,
          position,
          user_id: `user ${Math.floor(i / 3)}`,
          product_name: `product ${skewed(i + 7)}`,
          is_active: i === 0 || i % 3 === 2 ? 1 : 0,
        }),
      )
    }
    for (let i = 0; i < size; i++) {
      const talkative = i % 2 === 0
      insert(
        'messages',
        messageRow({
          org_id: talkative ? orgId : 'org 1',
          room_id: talkative ? roomId : idOf((i % 50) + 1),
          seq: i + 1,
          id: idOf(i + 1),
          side: i % 3 === 0 ? 1 : 0,
          author: `support ${i % 5}`,
          client_message_id: i % 4 === 0 ? `client-message-${String(i).padStart(4, '0')}` : null,
        }),
      )
    }
  })()
}
