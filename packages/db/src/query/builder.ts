import { DummyDriver, type Expression, Kysely, PostgresAdapter, type RawBuilder, sql } from 'kysely'
import { kyselyDialect } from '../engine/kyselyOn.ts'
import type { DialectName } from '../engine/session.ts'
import type { Tables } from '../tables.ts'

/** Builds queries that read and write. */
export type QueryBuilder = Kysely<Tables>

/** Builds queries that read. */
export type ReadBuilder = Pick<
  QueryBuilder,
  'selectFrom' | 'selectNoFrom' | 'with' | 'getExecutor' | 'fn'
>

/** They compile queries and cannot run them. */
export const builders: { readonly [Name in DialectName]: QueryBuilder } = {
  sqlite: new Kysely({ dialect: kyselyDialect('sqlite', new DummyDriver()) }),
  postgres: new Kysely({ dialect: kyselyDialect('postgres', new DummyDriver()) }),
}

/** For the places where the SQL of the two databases differs. */
export function dialectOf(db: Pick<Kysely<unknown>, 'getExecutor'>): DialectName {
  return db.getExecutor().adapter instanceof PostgresAdapter ? 'postgres' : 'sqlite'
}

/** A table with a column `value` that holds the texts of a JSON array: one statement text for lists of any length. */
export function eachOf(
  db: Pick<Kysely<unknown>, 'getExecutor'>,
  array: Expression<string>,
): RawBuilder<{ value: string }> {
  return dialectOf(db) === 'postgres'
    ? sql`jsonb_array_elements_text(cast(${array} as jsonb))`
    : sql`json_each(${array})`
}
