import { type Expression, type Kysely, PostgresAdapter, type RawBuilder, sql } from 'kysely'

/** Which of the two databases this is, where SQL must differ. */
export function dialectOf<Tables>(db: Kysely<Tables>): 'sqlite' | 'postgres' {
  return db.getExecutor().adapter instanceof PostgresAdapter ? 'postgres' : 'sqlite'
}

/** A table of the texts in a JSON array, in its column `value`: a list of any length in a statement of one text. */
export function eachOf<Tables>(
  db: Kysely<Tables>,
  array: Expression<string>,
): RawBuilder<{ value: string }> {
  return dialectOf(db) === 'postgres'
    ? sql`jsonb_array_elements_text(cast(${array} as jsonb))`
    : sql`json_each(${array})`
}
