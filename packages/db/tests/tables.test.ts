import { expect, test } from 'vitest'
import {
  type ColumnTypes,
  columnsOf,
  columnTypeOf,
  type DataTable,
  primaryKeys,
  type SigningKeysTable,
  type Tables,
} from '../src/tables.ts'
import { createTestDb, kyselyOn } from '../src/testing.ts'

const tables = [...(Object.keys(primaryKeys) as DataTable[]), 'event_log'] as const
const nameOf: Record<string, string> = { int8: 'integer', INTEGER: 'integer', TEXT: 'text' }

test('tables.ts has the tables and columns of the migrated schema', async () => {
  await using db = await createTestDb()
  const found = await kyselyOn(db.read).introspection.getTables()
  const columns = (name: keyof Tables) =>
    columnsOf(name).map((column) => `${column} ${columnTypeOf(name, column)}`)
  expect(
    Object.fromEntries(
      found
        .filter(({ name }) => !name.startsWith('schema_migrations'))
        .map(({ name, columns }) => [
          name,
          columns.map(({ name, dataType }) => `${name} ${nameOf[dataType] ?? dataType}`).sort(),
        ]),
    ),
    'packages/db/src/tables.ts and the migrations in packages/db/src/migrations differ',
  ).toEqual(Object.fromEntries(tables.map((name) => [name, columns(name).sort()])))
})

test('a column that is missing on one side, or has another type, does not compile', () => {
  type Columns = ColumnTypes<SigningKeysTable>
  const complete = { id: 'text', secret: 'text', created_at: 'integer' } as const
  const columns: Columns = complete
  // @ts-expect-error `secret` is missing in the list.
  const shorter: Columns = { id: 'text', created_at: 'integer' }
  // @ts-expect-error `note` is missing in the table.
  const longer: Columns = { ...complete, note: 'text' }
  // @ts-expect-error A time is an integer.
  const other: Columns = { ...complete, created_at: 'text' }
  expect(Object.keys(columns)).toEqual(columnsOf('signing_keys'))
  void [shorter, longer, other]
})
