import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  type Database,
  type EventFilter,
  type EventLogBounds,
  eventLogBounds,
  eventsInScope,
} from '@dowell-chat/db'
import { type TrackedEnvelope, tracked } from '@trpc/server'
import { jsonBytes, PAGE_BYTES } from '../../encoding/pageBytes.ts'
import { decodeEventCursor, isOfEpoch } from '../cursor.ts'
import {
  type EndReason,
  type ResetReason,
  type StreamEvent,
  toCustomerEvent,
  toEvent,
  toLogPosition,
} from '../schema.ts'
import type { HiddenFromCustomers } from './orgTail.ts'
import type { StreamFilter } from './streamFilter.ts'
import type { StreamLimits } from './streamLimits.ts'
import type { LogHistory, Tail, TailSubscriber } from './tail.ts'

/**
 * Consumes quota for replayed events. Resolves when the reader may have more.
 *
 * @param bytes of their JSON
 */
export type PayForReplay = (bytes: number) => Promise<void>

/** Events with a cursor are tracked, so that tRPC's clients resume from it. */
type TrpcEvent =
  | TrackedEnvelope<Extract<StreamEvent, { cursor: string }>>
  | Exclude<StreamEvent, { cursor: string }>

/**
 * The events of one reader: first the missed ones, read from the log, then live ones. A stream joins the tail at the
 * moment at which it has read as far as the tail, so the cutover neither loses nor repeats an event. A slow reader leaves
 * the tail and reads the log again, so at most `limits.pending` events wait for it.
 */
export class EventStream implements AsyncIterable<TrpcEvent>, TailSubscriber {
  readonly filter: StreamFilter
  readonly isCustomer: boolean
  readonly #db: Database
  readonly #tail: Tail
  readonly #after: string | undefined
  readonly #hiddenFromCustomers: HiddenFromCustomers
  readonly #onStart: () => void
  readonly #onReady: () => readonly StreamEvent[]
  readonly #onLeave: () => void
  readonly #limits: StreamLimits
  readonly #payForReplay: PayForReplay | undefined
  /** Pending while the reader may not have the next page of a replay. */
  #payment: Promise<void> | undefined
  /** Every event up to here was returned, or waits in #pending and will not be dropped. */
  #position = -1
  /** The history that `#position` belongs to. */
  #history: LogHistory | undefined
  #pending: StreamEvent[] = []
  /** UTF-16 units of the message texts in #pending. */
  #pendingCharacters = 0
  #state: 'starting' | 'behind' | 'live' = 'starting'
  #endReason: EndReason | undefined
  #hasLeft = false
  /** Events up to here were read from the log; the tail may deliver them again. */
  #joinedAt = 0
  #wake: (() => void) | undefined
  #replayedEvents = 0
  #replayReads = 0

  constructor(
    db: Database,
    tail: Tail,
    filter: StreamFilter,
    options: {
      limits: StreamLimits
      isCustomer: boolean
      hiddenFromCustomers: HiddenFromCustomers
      /** A cursor, not validated. */
      after?: string | undefined
      payForReplay?: PayForReplay | undefined
      /** Called when the stream is first read. A stream that is never read, as for HEAD, does not start. */
      onStart: () => void
      /** Returns the events to send after each `ready`. */
      onReady: () => readonly StreamEvent[]
      onLeave: () => void
    },
  ) {
    this.#db = db
    this.#tail = tail
    this.filter = filter
    this.#limits = options.limits
    this.isCustomer = options.isCustomer
    this.#hiddenFromCustomers = options.hiddenFromCustomers
    this.#after = options.after
    this.#payForReplay = options.payForReplay
    this.#onStart = options.onStart
    this.#onReady = options.onReady
    this.#onLeave = options.onLeave
  }

  /**
   * Waits for the next events; undefined when the stream has ended. Call it again only when it has resolved.
   *
   * @throws what reading the log throws; the stream has ended then
   */
  async next(): Promise<readonly StreamEvent[] | undefined> {
    try {
      for (;;) {
        if (this.#hasLeft) return undefined
        if (this.#pending.length > 0) return this.#takePending()
        if (this.#endReason !== undefined) {
          this.leave()
          return [{ type: 'end', reason: this.#endReason }]
        }
        if (this.#state === 'starting') await this.#start()
        else if (this.#state === 'behind') await this.#catchUp()
        else {
          await this.#waitForWake()
        }
      }
    } catch (error) {
      this.leave()
      throw error
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TrpcEvent, void, undefined> {
    try {
      for (let events = await this.next(); events; events = await this.next()) {
        for (const event of events) yield 'cursor' in event ? tracked(event.cursor, event) : event
      }
    } finally {
      this.leave()
    }
  }

  /** Queues a live event. Call it in the order of positions. */
  deliver(event: StreamEvent): void {
    if (this.#state !== 'live') return
    if ('position' in event && event.position <= this.#joinedAt) return
    const { pending, pendingCharacters } = this.#limits
    this.#pendingCharacters += charactersOf(event)
    if (this.#pending.length >= pending || this.#pendingCharacters > pendingCharacters) {
      this.#takePending()
      this.#fallBehind()
    } else {
      if (this.#pending.length === 0) {
        // Everything before was returned or filtered out, so a later replay need not scan it again.
        const before = 'position' in event ? event.position - 1 : this.#tail.position
        this.#position = Math.max(this.#position, before)
      }
      this.#pending.push(event)
    }
    this.#wakeUp()
  }

  /** Sends what is pending, then what the log still has, or a `reset` if the history changed. */
  onGap(): void {
    this.#position = Math.max(this.#position, this.#tail.position)
    this.#fallBehind()
    this.#wakeUp()
  }

  /** Ends the stream after its pending events. */
  end(reason: EndReason): void {
    this.#endReason ??= reason
    this.#wakeUp()
  }

  /** Drops the stream with its pending events: the reader is gone. */
  leave(): void {
    if (this.#hasLeft) return
    this.#hasLeft = true
    this.#pending = []
    this.#tail.leave(this)
    this.#onLeave()
    this.#wakeUp()
  }

  #takePending(): readonly StreamEvent[] {
    const pending = this.#pending
    this.#pending = []
    this.#pendingCharacters = 0
    return pending
  }

  #waitForWake(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  /** Starts the payment for a replayed page; #catchUp waits for it before the next page. */
  #payFor(events: readonly StreamEvent[]): void {
    if (!this.#payForReplay || events.length === 0) return
    const settle = () => {
      this.#payment = undefined
    }
    this.#payment = this.#payForReplay(jsonBytes(events)).then(settle, settle)
  }

  #wakeUp(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }

  async #start(): Promise<void> {
    this.#onStart()
    await this.#tail.start()
    const bounds = await this.#findBounds()
    this.#history = this.#tail.history
    const position =
      this.#after === undefined ? bounds.head : this.#decodePosition(this.#after, bounds)
    if (position === undefined) this.#reset('unknown')
    else this.#position = position
    this.#state = 'behind'
  }

  /** The bounds of the log, read within the tail's current history. */
  async #findBounds(): Promise<EventLogBounds> {
    for (;;) {
      const since = this.#tail.mark()
      const bounds = await eventLogBounds(this.#db.read, { orgId: this.filter.orgId })
      if (this.#tail.checkEnd(bounds, since)) return bounds
    }
  }

  /** @returns undefined when the text is not a cursor into this log */
  #decodePosition(text: string, bounds: EventLogBounds): number | undefined {
    const cursor = decodeEventCursor(this.filter.orgId, text)
    if (!cursor || !isOfEpoch(cursor, bounds) || cursor.position > bounds.head) return undefined
    return cursor.position
  }

  #fallBehind(): void {
    this.#state = 'behind'
    this.#tail.leave(this)
    this.#beginReplay()
  }

  #beginReplay(): void {
    this.#replayedEvents = 0
    this.#replayReads = 0
  }

  /** Reads the next page of missed events, or joins the tail if there are none. */
  async #catchUp(): Promise<void> {
    const { orgId, rooms, userId, productName } = this.filter
    const since = this.#tail.mark()
    const end = since.position
    if (this.#history !== since.history) {
      this.#reset('unknown')
      return
    }
    if (this.#position >= end) {
      // No await before the join, so the tail cannot move on in between.
      this.#state = 'live'
      this.#joinedAt = this.#position
      this.#tail.join(this)
      this.#pending.push({ type: 'ready', ...this.#logPosition() }, ...this.#onReady())
      return
    }
    if (this.#payment) {
      await Promise.race([this.#payment, this.#waitForWake()])
      return
    }
    const limits = this.#limits
    if (this.#replayedEvents >= limits.replay || this.#replayReads >= limits.reads) {
      this.#reset('too_far')
      return
    }
    // SQLite reads never yield to the event loop by themselves.
    if (this.#replayReads > 0) await nextTurn()
    const from = this.#position
    const hasNarrowFilter = rooms !== undefined || userId !== undefined
    const upTo = hasNarrowFilter ? end : Math.min(end, from + limits.window)
    const scope: EventFilter = { userId, productName, roomIds: rooms?.map((room) => room.id) }
    const range = { orgId, after: from, upTo, limit: limits.page, maxBytes: PAGE_BYTES }
    const { events: page, isComplete } = await eventsInScope(this.#db.read, { ...scope, ...range })
    const hidden = this.isCustomer ? await this.#hiddenFromCustomers(orgId) : {}
    const bounds = await eventLogBounds(this.#db.read, { orgId })
    if (this.#hasLeft) return
    // Drop a page that may belong to another history; the next call resets the stream.
    if (!this.#tail.checkEnd(bounds, since) || this.#tail.history !== this.#history) return
    // The floor is read after the page: otherwise events deleted in between would be missing without a reset.
    if (from < bounds.floor) {
      this.#reset('too_old')
      return
    }
    this.#replayReads++
    this.#replayedEvents += page.length
    const events = page.map((logged) => toCustomerEvent(logged, toEvent(logged), hidden))
    this.#pending.push(...events)
    this.#payFor(events)
    const last = page.at(-1)?.event.position
    this.#position = isComplete || last === undefined ? upTo : last
  }

  /** Continues at the tail's position and reports the gap. */
  #reset(reason: ResetReason): void {
    this.#position = this.#tail.position
    this.#history = this.#tail.history
    // The tail moves on while the reader loads the rooms again.
    this.#beginReplay()
    this.#pending.push({ type: 'reset', reason, ...this.#logPosition() })
  }

  #logPosition(): { position: number; cursor: string } {
    const epoch = this.#history?.epoch ?? ''
    return toLogPosition({ orgId: this.filter.orgId, position: this.#position, epoch })
  }
}

function charactersOf(event: StreamEvent): number {
  return 'message' in event ? event.message.messageData.length : 0
}
