export interface StreamLimits {
  /** Events that may wait for a slow reader; with more it reads the log again. */
  readonly pending: number
  /** The same in UTF-16 units of the waiting message texts. */
  readonly pendingCharacters: number
  /** Events per read of the log. Well below `pending`, so that a burst alone does not push out a fast reader. */
  readonly page: number
  /** Positions per read without a room or user filter, which bounds the time of one read. */
  readonly window: number
  /** Events of one replay. Beyond that, loading the rooms again is cheaper. */
  readonly replay: number
  /** Reads of one replay. */
  readonly reads: number
}

export const defaultStreamLimits: StreamLimits = {
  pending: 256,
  pendingCharacters: 512 * 1024,
  page: 100,
  window: 2_000,
  replay: 10_000,
  reads: 500,
}
