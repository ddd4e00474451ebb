import { type Expression, type Kysely, sql } from 'kysely'
import { dialectOf } from '../query/builder.ts'

/**
 * A row of a PostgreSQL index has at most 2,704 bytes. Four names of 200 four-byte characters have 3,200, three and a hash
 * 2,450. SQLite has no such limit.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  if (dialectOf(db) === 'sqlite') return
  await replaceIndex(db, sql`sha256(cast(replace(product_name, '\\', '\\\\') as bytea))`)
}

/** Fails if two names are too long for the former index. */
export async function down(db: Kysely<unknown>): Promise<void> {
  if (dialectOf(db) === 'sqlite') return
  await replaceIndex(db, sql.ref('product_name'))
}

async function replaceIndex(db: Kysely<unknown>, product: Expression<unknown>): Promise<void> {
  await db.schema.dropIndex('rooms_one_active').execute()
  await db.schema
    .createIndex('rooms_one_active')
    .unique()
    .on('rooms')
    .columns(['org_id', 'user_id', 'portfolio_name', product])
    .where(sql.ref('is_active'), '=', sql.lit(1))
    .execute()
}
