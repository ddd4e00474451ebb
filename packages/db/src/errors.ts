export type DatabaseErrorReason =
  /** DATABASE_URL is not one this version can open. */
  | 'bad-url'
  /** The file or its folder cannot be created, read or written; the server cannot be reached, or refuses us. */
  | 'cannot-open'
  /** The database was made by a newer version of this software. */
  | 'newer-schema'
  /** The database has not been brought to the newest version. */
  | 'older-schema'
  /** The database is to become the copy of another one, and is not yet. */
  | 'unfinished-copy'
  /** A copy cannot go from this database to that one. */
  | 'cannot-copy'
  /** What was copied is not what the source has. */
  | 'copy-differs'
  /** Others held a lock, or a statement ran, for longer than we are ready to wait. */
  | 'busy'
  /** The server does not answer. A write that was being committed may have been stored, or not. */
  | 'unavailable'
  /** More writes are waiting than the queue may hold. */
  | 'overloaded'
  /** The database was closed while, or before, the write was asked for. */
  | 'closed'

/** What went wrong with the database as a whole, in one sentence for an operator. */
export class DatabaseError extends Error {
  override readonly name = 'DatabaseError'
  readonly reason: DatabaseErrorReason

  constructor(reason: DatabaseErrorReason, message: string, options?: ErrorOptions) {
    super(message, options)
    this.reason = reason
  }
}

/** Events could not be written. `cause` says why, `orgId` in whose log. */
export class EventLogError extends Error {
  readonly orgId: string

  constructor(orgId: string, cause: unknown) {
    super('events cannot be written', { cause })
    this.orgId = orgId
  }
}
