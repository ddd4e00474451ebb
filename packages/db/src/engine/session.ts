import type { CompiledQuery } from 'kysely'

export type DialectName = 'sqlite' | 'postgres'

/** SQL and the values of its parameters. */
export type Statement = Pick<CompiledQuery, 'sql' | 'parameters'>

export type Rows<Row> = Row[] | Promise<Row[]>

/** Runs statements: on one connection, or on any free one of a pool. */
export interface Connection {
  readonly dialect: DialectName
  /** SQLite returns the rows, or throws, at once; PostgreSQL returns a promise. */
  execute(statement: Statement): Rows<unknown>
}

/** Runs the reads of a caller. Opaque outside this package: only its queries can run SQL on it. */
export class Session {
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
  }

  static connectionOf(session: Session): Connection {
    return session.#connection
  }
}

export const connectionOf = Session.connectionOf

/** Runs a statement. A class member would be visible to every package, so this is a function that index.ts leaves out. */
export async function run<Row>(
  session: Session,
  statement: Statement | CompiledQuery<Row>,
): Promise<Row[]> {
  return connectionOf(session).execute(statement) as Rows<Row>
}

/** A statement without parameters. */
export function statement(sql: string): Statement {
  return { sql, parameters: [] }
}
