import type { EventLogEnd } from '@dowell-chat/db'
import type { StreamEvent } from '../schema.ts'
import type { StreamFilter } from './streamFilter.ts'

/**
 * A log for as long as it only grows. Each time it goes back or changes its epoch, a new object stands for it, and the
 * streams of the old one are reset.
 */
export interface LogHistory {
  readonly epoch: string
}

/** How far a tail has read. */
export interface TailMark {
  /** Undefined until the tail has started. */
  readonly history: LogHistory | undefined
  /** Every event of `history` up to here was delivered to the streams that were live then. */
  readonly position: number
}

/** A stream as its tail uses it. */
export interface TailSubscriber {
  readonly filter: StreamFilter
  /** Whether the reader sees of a room what customers see. */
  readonly isCustomer: boolean
  /** Called in the order of positions. */
  deliver(event: StreamEvent): void
  /** Called when the tail skips events or starts a new history. */
  onGap(): void
}

/** The part of an organisation's log that this process has read, shared by all its streams. */
export interface Tail extends TailMark {
  mark(): TailMark
  /**
   * Compares the end of the log with the tail's position, and starts a new history if the log went back.
   *
   * @param since the mark from before `end` was read
   * @returns false when a new history has started since that mark, so `end` is stale
   */
  checkEnd(end: EventLogEnd, since: TailMark): boolean
  /** Resolves when history and position are set. Call it again after a failure. */
  start(): Promise<void>
  join(stream: TailSubscriber): void
  leave(stream: TailSubscriber): void
}
