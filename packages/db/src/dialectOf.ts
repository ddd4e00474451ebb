import { type Kysely, PostgresAdapter } from 'kysely'

/** Which of the two databases this is, where SQL must differ. */
export function dialectOf<Tables>(db: Kysely<Tables>): 'sqlite' | 'postgres' {
  return db.getExecutor().adapter instanceof PostgresAdapter ? 'postgres' : 'sqlite'
}
