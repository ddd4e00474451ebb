export type DatabaseErrorReason =
  /** DATABASE_URL is not one this version can open. */
  | 'bad-url'
  /** The file or its folder cannot be created, read or written; the server cannot be reached, or refuses us. */
  | 'cannot-open'
  /** A newer version of this software created the database. */
  | 'newer-schema'
  /** The schema is not at the newest version. */
  | 'older-schema'
  /** The schema lacks a part, or a migration ran in another form. */
  | 'wrong-schema'
  /** The database is the target of a copy that has not finished. */
  | 'unfinished-copy'
  /** A copy from this source to this target is not possible. */
  | 'cannot-copy'
  /** The copied rows differ from the source's. */
  | 'copy-differs'
  /** A value is too large for the database, or has a character that it cannot store. */
  | 'not-storable'
  /** A lock or a statement timed out. */
  | 'busy'
  /** The database answers reads and refuses writes, as a standby does. */
  | 'read-only'
  /** The server does not answer. A write during its commit may be stored or not. */
  | 'unavailable'
  /** More writes are waiting than the queue may hold. */
  | 'overloaded'
  /** The database was closed before the write. */
  | 'closed'

/** A failure of the database as a whole, in one sentence for an operator. */
export class DatabaseError extends Error {
  override readonly name = 'DatabaseError'
  readonly reason: DatabaseErrorReason

  constructor(reason: DatabaseErrorReason, message: string, options?: ErrorOptions) {
    super(message, options)
    this.reason = reason
  }
}

/** Events could not be stored in an organisation's log. */
export class EventLogError extends Error {
  readonly orgId: string

  constructor(orgId: string, cause: unknown) {
    super('events cannot be written', { cause })
    this.orgId = orgId
  }
}

/** @param cause the database's own error, which says what does not fit */
export function notStorable(cause: unknown): DatabaseError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new DatabaseError('not-storable', `a value cannot be stored: ${reason}`, { cause })
}
