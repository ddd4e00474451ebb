export type DatabaseErrorReason =
  /** DATABASE_URL is not one this version can open. */
  | 'bad-url'
  /** The file or its folder cannot be created, read or written. */
  | 'cannot-open'
  /** The file was made by a newer version of this software. */
  | 'newer-schema'
  /** Another process held the write lock for longer than we are ready to wait. */
  | 'busy'
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
