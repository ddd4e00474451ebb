import { type Compilable, type CompiledQuery, type Expression, type Kysely, sql } from 'kysely'
import { dialectOf } from './dialectOf.ts'
import { anyOrganisation, type OrgScope } from './scope.ts'
import type { Tables } from './tables.ts'

/** The places in a query where the parameters of a call go. */
export type Slots<P> = { readonly [K in keyof P]: Expression<P[K]> }

/** What stands in a slot while the query is compiled, so that it is found again among the parameters. */
class Slot {
  readonly name: PropertyKey

  constructor(name: PropertyKey) {
    this.name = name
  }
}

/**
 * A query that is built and compiled at its first call on either database; each call then only fills in its parameters.
 * Building costs more than most of our queries themselves.
 *
 * @returns what runs the query, on a transaction or outside of one, and resolves with its rows
 */
export function prepared<P extends object, Row>(
  build: (db: Kysely<Tables>, slots: Slots<P>) => Compilable<Row>,
): (db: Kysely<Tables>, parameters: P) => Promise<Row[]> {
  const texts: { sqlite?: CompiledQuery<Row>; postgres?: CompiledQuery<Row> } = {}
  return async (db, parameters) => {
    const dialect = dialectOf(db)
    texts[dialect] ??= build(db, slotsFor<P>()).compile()
    const compiled = texts[dialect]
    const filled = compiled.parameters.map((parameter) =>
      parameter instanceof Slot ? parameters[parameter.name as keyof P] : parameter,
    )
    const { rows } = await db.executeQuery<Row>({ ...compiled, parameters: filled })
    return rows
  }
}

/** The same in two texts: for the rows of one organisation, and for those of all. `orgId` is undefined in the second. */
export function preparedInScope<P extends object, Row>(
  build: (
    db: Kysely<Tables>,
    slots: Slots<P>,
    orgId: Expression<string> | undefined,
  ) => Compilable<Row>,
): (db: Kysely<Tables>, parameters: P & { orgId: OrgScope }) => Promise<Row[]> {
  const ofOne = prepared<P & { orgId: string }, Row>((db, slots) => build(db, slots, slots.orgId))
  const ofAll = prepared<P, Row>((db, slots) => build(db, slots, undefined))
  return (db, parameters) => {
    const { orgId } = parameters
    // Only the symbol itself: an organisation that went missing on the way opens none.
    return orgId === anyOrganisation ? ofAll(db, parameters) : ofOne(db, { ...parameters, orgId })
  }
}

function slotsFor<P extends object>(): Slots<P> {
  return new Proxy({} as Slots<P>, { get: (_, name) => sql`${new Slot(name)}` })
}
