import Sqlite from 'better-sqlite3'
import { sql } from 'kysely'
import { kyselyOn } from '../engine/kyselyOn.ts'
import { connectionOf, Session } from '../engine/session.ts'
import { SqliteConnection } from '../engine/sqlite/connection.ts'
import { migrations } from './index.ts'

const EXPRESSION = '(expression)'

interface Column {
  readonly table: string
  readonly name: string
}

interface Index extends Column {
  /** The columns in order; `(expression)` for an expression. */
  readonly columns: string
  readonly isUnique: boolean
  readonly isPartial: boolean
}

interface Schema {
  readonly columns: readonly Column[]
  /** Without those of primary keys and constraints, whose names the databases choose. */
  readonly indexes: readonly Index[]
}

/**
 * Compares a database's tables, columns and indexes with those that the migrations create. What others added is no
 * difference.
 *
 * @returns a clause for each difference
 */
export async function findSchemaDifferences(session: Session): Promise<string[]> {
  const expected = await migratedSchema()
  const found = await schemaOf(session)
  const tables = new Set(found.columns.map(({ table }) => table))
  const columns = new Set(found.columns.map(({ table, name }) => `${table}.${name}`))
  const indexes = new Map(found.indexes.map((index) => [index.name, index]))
  const differences: string[] = []
  for (const table of new Set(expected.columns.map(({ table }) => table))) {
    if (!tables.has(table)) differences.push(`the table ${table} is missing`)
  }
  for (const { table, name } of expected.columns) {
    if (tables.has(table) && !columns.has(`${table}.${name}`)) {
      differences.push(`the column ${table}.${name} is missing`)
    }
  }
  for (const index of expected.indexes) {
    const other = indexes.get(index.name)
    if (!other) differences.push(`the index ${describeIndex(index)} is missing`)
    else if (!isSameIndex(other, index)) {
      differences.push(`the index ${describeIndex(other)} should be ${describeIndex(index)}`)
    }
  }
  return differences
}

/** An expression counts as any column: one database may need one where the other does not. */
function isSameIndex(a: Index, b: Index): boolean {
  const [columns, others] = [a, b].map((index) => index.columns.split(', ')) as [string[], string[]]
  return (
    a.table === b.table &&
    a.isUnique === b.isUnique &&
    a.isPartial === b.isPartial &&
    columns.length === others.length &&
    columns.every((column, i) => column === others[i] || [column, others[i]].includes(EXPRESSION))
  )
}

function describeIndex({ name, table, columns, isUnique, isPartial }: Index): string {
  const kinds = [...(isUnique ? ['unique'] : []), ...(isPartial ? ['partial'] : [])]
  const suffix = kinds.length > 0 ? `, ${kinds.join(' and ')}` : ''
  return `${name} on ${table} (${columns})${suffix}`
}

/** The schema that the migrations create, read from a database in memory: names are the same on both databases. */
async function migratedSchema(): Promise<Schema> {
  const memory = new Sqlite(':memory:')
  try {
    const session = new Session(new SqliteConnection(memory))
    const db = kyselyOn(session)
    for (const name of Object.keys(migrations).sort()) await migrations[name]?.up(db)
    return await schemaOf(session)
  } finally {
    memory.close()
  }
}

async function schemaOf(session: Session): Promise<Schema> {
  const db = kyselyOn(session)
  const read = connectionOf(session).dialect === 'postgres' ? onPostgres : onSqlite
  const columns = await read.columns.execute(db)
  const indexes = await read.indexes.execute(db)
  return {
    columns: columns.rows,
    indexes: indexes.rows.map(({ isUnique, isPartial, ...index }) => ({
      ...index,
      isUnique: Boolean(isUnique),
      isPartial: Boolean(isPartial),
    })),
  }
}

const onSqlite = {
  columns: sql<Column>`
    select t.name as "table", c.name as name
    from sqlite_schema t, pragma_table_xinfo(t.name) c
    where t.type = 'table' and t.name not like 'schema_migrations%'`,
  indexes: sql<Index>`
    select t.name as "table", i.name as name, i."unique" as "isUnique", i.partial as "isPartial",
      (
        select group_concat(coalesce(c.name, '(expression)'), ', ' order by c.seqno)
        from pragma_index_xinfo(i.name) c where c.key = 1
      ) as columns
    from sqlite_schema t, pragma_index_list(t.name) i
    where t.type = 'table' and i.origin = 'c'`,
}

const onPostgres = {
  columns: sql<Column>`
    select c.relname as "table", a.attname as name
    from pg_class c join pg_attribute a on a.attrelid = c.oid
    where c.relkind in ('r', 'p') and pg_table_is_visible(c.oid) and a.attnum > 0 and not a.attisdropped
      and c.relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)`,
  // An invalid index is what an interrupted "create index concurrently" leaves.
  indexes: sql<Index>`
    select c.relname as "table", i.relname as name, x.indisunique as "isUnique",
      x.indpred is not null as "isPartial",
      (
        select string_agg(coalesce(a.attname, '(expression)'), ', ' order by k.number)
        from unnest(x.indkey::int2[]) with ordinality as k(attnum, number)
          left join pg_attribute a on a.attrelid = x.indrelid and a.attnum = k.attnum
        where k.number <= x.indnkeyatts
      ) as columns
    from pg_index x join pg_class i on i.oid = x.indexrelid join pg_class c on c.oid = x.indrelid
    where pg_table_is_visible(c.oid) and x.indisvalid and not x.indisprimary
      and c.relnamespace not in ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace)
      and not exists (select 1 from pg_constraint where conindid = x.indexrelid)`,
}
