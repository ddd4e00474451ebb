import { type Expression, type RawBuilder, sql } from 'kysely'

/** The time `now`, or that of a column if it is later: the clocks of instances differ, and a clock may be put back. */
export function notBefore(column: string, now: Expression<number>): RawBuilder<number> {
  const earlier = sql.ref<number>(column)
  return sql`case when ${earlier} > ${now} then ${earlier} else ${now} end`
}
