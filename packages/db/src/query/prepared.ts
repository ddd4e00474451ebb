import { type Compilable, type CompiledQuery, type Expression, type Selectable, sql } from 'kysely'
import { connectionOf, type DialectName, type Rows, run, type Session } from '../engine/session.ts'
import { noteRemovedText, type Transaction } from '../engine/transaction.ts'
import { columnsOf, type Tables } from '../tables.ts'
import { builders, type QueryBuilder, type ReadBuilder } from './builder.ts'
import { removesText } from './removesText.ts'
import { allOrganisations, type OrgScope } from './scope.ts'

/** The placeholders of a query's parameters. */
export type Params<P> = { readonly [K in keyof P]: Expression<P[K]> }

/** Marks a parameter in the compiled query. */
class Placeholder {
  readonly name: PropertyKey

  constructor(name: PropertyKey) {
    this.name = name
  }
}

/**
 * A read that is built and compiled at its first call on each database, because building costs more than most of our
 * queries themselves. Later calls only fill in their parameters.
 */
export function prepared<P extends object, Row>(
  build: (db: ReadBuilder, params: Params<P>) => Compilable<Row>,
): (session: Session, params: P) => Promise<Row[]> {
  return prepare(build)
}

/** The same for a write, which needs a transaction. */
export function preparedWrite<P extends object, Row>(
  build: (db: QueryBuilder, params: Params<P>) => Compilable<Row>,
): (tx: Transaction, params: P) => Promise<Row[]> {
  return prepare(build)
}

/** Has one text for the rows of an organisation and one for those of all. `orgId` is undefined in the second. */
export function preparedInScope<P extends object, Row>(
  build: ScopedBuild<ReadBuilder, P, Row>,
): (session: Session, params: P & { orgId: OrgScope }) => Promise<Row[]> {
  return prepareInScope(build)
}

export function preparedWriteInScope<P extends object, Row>(
  build: ScopedBuild<QueryBuilder, P, Row>,
): (tx: Transaction, params: P & { orgId: OrgScope }) => Promise<Row[]> {
  return prepareInScope(build)
}

type ScopedBuild<Builder, P, Row> = (
  db: Builder,
  params: Params<P>,
  orgId: Expression<string> | undefined,
) => Compilable<Row>

function prepare<P extends object, Row>(
  build: (db: QueryBuilder, params: Params<P>) => Compilable<Row>,
) {
  const compiled: { [Name in DialectName]?: Compiled<Row> } = {}
  return async (session: Session, params: P): Promise<Row[]> => {
    const connection = connectionOf(session)
    const { dialect } = connection
    compiled[dialect] ??= compile(build(builders[dialect], placeholders<P>()))
    const { sql, parameters, isRemoval } = compiled[dialect]
    if (isRemoval) noteRemovedText(session)
    return connection.execute({
      sql,
      parameters: parameters.map((parameter) =>
        parameter instanceof Placeholder ? params[parameter.name as keyof P] : parameter,
      ),
    }) as Rows<Row>
  }
}

type Compiled<Row> = CompiledQuery<Row> & { readonly isRemoval: boolean }

function compile<Row>(query: Compilable<Row>): Compiled<Row> {
  const compiled = query.compile()
  return { ...compiled, isRemoval: removesText(compiled.query) }
}

function prepareInScope<P extends object, Row>(build: ScopedBuild<QueryBuilder, P, Row>) {
  const ofOne = prepare<P & { orgId: string }, Row>((db, params) => build(db, params, params.orgId))
  const ofAll = prepare<P, Row>((db, params) => build(db, params, undefined))
  return (session: Session, params: P & { orgId: OrgScope }): Promise<Row[]> => {
    const { orgId } = params
    // Compare with the symbol itself, so that a missing organisation id never reads all organisations.
    return orgId === allOrganisations
      ? ofAll(session, params)
      : ofOne(session, { ...params, orgId })
  }
}

function placeholders<P extends object>(): Params<P> {
  return new Proxy({} as Params<P>, { get: (_, name) => sql`${new Placeholder(name)}` })
}

/** Builds a read and runs it: for queries whose text depends on the call. */
export async function select<Row>(
  session: Session,
  build: (db: ReadBuilder) => Compilable<Row>,
): Promise<Row[]> {
  return run(session, build(builders[connectionOf(session).dialect]).compile())
}

/** Builds a write and runs it. */
export async function mutate<Row>(
  tx: Transaction,
  build: (db: QueryBuilder) => Compilable<Row>,
): Promise<Row[]> {
  const query = compile(build(builders[connectionOf(tx).dialect]))
  if (query.isRemoval) noteRemovedText(tx)
  return run(tx, query)
}

/** The parameters of a new row, in all columns of its table. */
export function rowParams<T extends keyof Tables>(
  table: T,
  params: Params<Selectable<Tables[T]>>,
): Params<Selectable<Tables[T]>> {
  const columns = columnsOf(table) as (keyof Selectable<Tables[T]>)[]
  return Object.fromEntries(columns.map((column) => [column, params[column]])) as typeof params
}
