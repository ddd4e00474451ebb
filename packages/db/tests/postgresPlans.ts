import { sql } from 'kysely'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Statement } from '../src/engine/session.ts'
import { Transaction } from '../src/engine/transaction.ts'
import type { Tables } from '../src/tables.ts'
import { createTestDb, kyselyOn, type TestDatabase } from '../src/testing.ts'

type Run = (tx: Transaction) => Promise<unknown>
type Insert = (table: keyof Tables, row: object) => void

/** Tables that grow for ever. */
const HOT = ['rooms', 'messages', 'events']

interface Plan {
  'Node Type': string
  'Relation Name'?: string
  Plans?: Plan[]
}

/** Checks that on PostgreSQL no query reads a large table from end to end, be its values known to the planner or not. */
export function describePostgresPlans(
  cases: Record<string, [what: string, run: Run, plans: string[][]][]>,
  fill: (insert: Insert) => void,
): void {
  describe('in a full and analysed database', () => {
    let testDb: TestDatabase
    let client: pg.Client
    let tx: Transaction
    const statements: Statement[] = []

    beforeAll(async () => {
      testDb = await createTestDb()
      const types = {
        getTypeParser: (oid: number) =>
          oid === pg.types.builtins.INT8 ? Number : pg.types.getTypeParser(oid),
      } as pg.CustomTypesConfig
      client = new pg.Client({ connectionString: testDb.url, types })
      await client.connect()
      tx = new Transaction({
        dialect: 'postgres',
        async execute(statement) {
          statements.push(statement)
          return (await client.query(statement.sql, [...statement.parameters])).rows
        },
      })
      const db = kyselyOn(tx)
      const rows = new Map<keyof Tables, object[]>()
      fill((table, row) => {
        const all = rows.get(table) ?? []
        rows.set(table, all)
        all.push(row)
      })
      for (const [table, all] of rows) {
        // As many as fit the parameters of a statement.
        for (let i = 0; i < all.length; i += 1_000) {
          await db
            .insertInto(table)
            .values(all.slice(i, i + 1_000) as never)
            .execute()
        }
      }
      // So many others that no scan is as good, not even for a hundred rooms at once.
      await sql`insert into organisations values ('others', 0, 0)`.execute(db)
      await sql`insert into rooms (id, org_id, position, event_id, user_id, portfolio_name, product_name, room_room_id,
          is_active, last_seq, created_at, updated_at)
        select 'a' || lpad(i::text, 23, '0'), 'others', i, '', i::text, '', 'product ' || i % 3, '', 1, 1, 0, 0
        from generate_series(1, 100000) as i`.execute(db)
      await sql`insert into messages (org_id, room_id, seq, id, side, author, message_type, message_data, is_active, created_at)
        select org_id, id, 1, id, 0, '', '', '', 1, 0 from rooms where org_id = 'others'`.execute(
        db,
      )
      await sql`insert into events (org_id, position, room_id, type, message_seq, created_at)
        select org_id, position, id, 'message.created', 1, 0 from rooms where org_id = 'others'`.execute(
        db,
      )
      await sql`analyze`.execute(db)
    })
    afterAll(async () => {
      await client.end()
      await testDb[Symbol.asyncDispose]()
    })

    /** The tables that the statements of `run` read from end to end. */
    async function scannedBy(run: Run): Promise<Set<string>> {
      const scanned = new Set<string>()
      const note = (plan: Plan) => {
        const table = plan['Relation Name']
        if (plan['Node Type'] === 'Seq Scan' && table) scanned.add(table)
        plan.Plans?.forEach(note)
      }
      await client.query('begin')
      try {
        statements.length = 0
        await run(tx)
        // A lock reads nothing, and has no plan.
        const planned = statements.filter(({ sql }) => !sql.startsWith('lock '))
        for (const { sql: text, parameters } of planned) {
          const real = { text: `explain (format json) ${text}`, values: [...parameters] }
          const blind = { text: `explain (format json, generic_plan) ${text}` }
          for (const explain of [real, blind]) {
            const { rows } = await client.query<{ 'QUERY PLAN': { Plan: Plan }[] }>(explain)
            for (const { Plan } of rows[0]?.['QUERY PLAN'] ?? []) note(Plan)
          }
        }
      } finally {
        await client.query('rollback')
      }
      return scanned
    }

    test.for(
      Object.entries(cases).flatMap(([name, runs]) => runs.map((run) => [name, ...run] as const)),
    )('%s %s reads by an index', async ([, , run]) => {
      const scanned = await scannedBy(run)
      expect(HOT.filter((table) => scanned.has(table))).toEqual([])
    })

    test('a list of rooms with several statuses merges them in order, and reads a page of each', async () => {
      statements.length = 0
      for (const [, run] of cases.listRoomsPage ?? []) await run(tx)
      const unions = statements.filter(({ sql }) => sql.includes(' union all '))
      expect(unions.length).toBeGreaterThan(0)
      for (const { sql: text, parameters } of unions) {
        const explain = { text: `explain (format json) ${text}`, values: [...parameters] }
        const { rows } = await client.query<{ 'QUERY PLAN': { Plan: Plan }[] }>(explain)
        const [merge] = rows[0]?.['QUERY PLAN'][0]?.Plan.Plans ?? []
        expect(merge?.['Node Type'], text).toBe('Merge Append')
        expect(
          merge?.Plans?.every((part) => part['Node Type'] === 'Limit'),
          text,
        ).toBe(true)
      }
    })

    test('the check of plans notices a scan', async () => {
      const scanned = await scannedBy((tx) =>
        kyselyOn(tx).selectFrom('rooms').selectAll().where('event_id', '=', 'x').execute(),
      )
      expect([...scanned]).toEqual(['rooms'])
    })
  })
}
