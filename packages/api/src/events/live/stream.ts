import { setImmediate as turn } from 'node:timers/promises'
import {
  type Database,
  type EventFilter,
  type EventLogBounds,
  type EventLogEnd,
  eventLogBounds,
  eventsInScope,
  type RoomRow,
} from '@dowell-chat/db'
import { type TrackedEnvelope, tracked } from '@trpc/server'
import { jsonBytes, PAGE_BYTES } from '../../encoding/pageBytes.ts'
import { decodeEventCursor, isOfEpoch } from '../cursor.ts'
import {
  type EndReason,
  type ResetReason,
  type StreamEvent,
  toEvent,
  toLogPlace,
} from '../schema.ts'

/** What tells which streams an event about a room is for. */
export interface RoomRef {
  readonly id: string
  readonly orgId: string
  readonly userId: string
  readonly productName: string
}

export function toRoomRef(row: RoomRow): RoomRef {
  return { id: row.id, orgId: row.org_id, userId: row.user_id, productName: row.product_name }
}

/** Which of an organisation's events a stream brings: those that its caller may see and asks for. */
export interface StreamFilter {
  readonly orgId: string
  /** Only these rooms, each of which the caller sees. */
  readonly rooms?: readonly RoomRef[] | undefined
  readonly userId?: string | undefined
  readonly productName?: string | undefined
}

/**
 * A log as long as it only grows. When it goes back, or is on another epoch, what follows is another history, and an object
 * of its own: streams of the one before are reset.
 */
export interface LogHistory {
  readonly epoch: string
}

/** How far a tail has read. */
export interface TailMark {
  /** Undefined until the tail has started. */
  readonly history: LogHistory | undefined
  /** Every event of `history` up to here was given to the streams that were live then. */
  readonly position: number
}

/** The part of an organisation's log that this process has read, for all streams at once. */
export interface Tail extends TailMark {
  mark(): TailMark
  /**
   * Compares where the log ends with how far it was read, and begins another history if it went back.
   *
   * @param since the mark from before the database was asked
   * @returns false when another history has begun since then, of which `end` says nothing
   */
  look(end: EventLogEnd, since: TailMark): boolean
  /** Resolves when the two are known. May be called again, also after it failed. */
  start(): Promise<void>
  join(stream: EventStream): void
  leave(stream: EventStream): void
}

/** Consumes quota for replayed events, and resolves when the reader may have more. @param bytes of JSON */
export type PayForReplay = (bytes: number) => Promise<void>

export interface StreamLimits {
  /** Events, and characters of their messages, that may wait for a reader before it has to read the table again. */
  readonly pending: number
  readonly pendingCharacters: number
  /** Events of one read of the table; well below `pending`, so that a burst alone does not overtake who keeps up. */
  readonly page: number
  /** Positions of one read that looks at every room's events: it must not hold the others up. */
  readonly window: number
  /** Events and reads of one replay, at most: to read the rooms anew is cheaper by then. */
  readonly replay: number
  readonly reads: number
}

export const streamLimits: StreamLimits = {
  pending: 256,
  pendingCharacters: 512 * 1024,
  page: 100,
  window: 2_000,
  replay: 10_000,
  reads: 500,
}

/** What tRPC's subscriptions yield: whatever has a cursor under it, so that tRPC's clients resume from there. */
type Yielded =
  | TrackedEnvelope<Extract<StreamEvent, { cursor: string }>>
  | Exclude<StreamEvent, { cursor: string }>

/**
 * The events of one reader: first those that it has missed, read from the table, then live ones. The change from the one to
 * the other loses nothing and repeats nothing, since both are the same positions: a stream joins the tail at the moment
 * at which it has read as far as the tail has. One that does not keep up leaves the tail and reads the table again,
 * so that no more than a page waits for it, however slow it is.
 */
export class EventStream implements AsyncIterable<Yielded> {
  readonly filter: StreamFilter
  readonly #db: Database
  readonly #tail: Tail
  readonly #after: string | undefined
  readonly #onReady: () => readonly StreamEvent[]
  readonly #onLeave: () => void
  readonly #limits: StreamLimits
  readonly #payForReplay: PayForReplay | undefined
  /** Until the reader may have more of what is replayed. */
  #paying: Promise<void> | undefined
  /** Everything up to here was handed over, or waits in #pending and will not be dropped. */
  #position = -1
  /** Of which history `#position` is. */
  #history: LogHistory | undefined
  #pending: StreamEvent[] = []
  /** Characters of the messages in it. */
  #pendingCharacters = 0
  #state: 'starting' | 'behind' | 'live' = 'starting'
  #ended: EndReason | undefined
  #left = false
  /** What the tail delivers up to here was read from the table already. */
  #joinedAt = 0
  #wake: (() => void) | undefined
  #replayed = 0
  #reads = 0

  constructor(
    db: Database,
    tail: Tail,
    filter: StreamFilter,
    options: {
      limits: StreamLimits
      /** A cursor, from whoever. */
      after?: string | undefined
      payForReplay?: PayForReplay | undefined
      /** What else is to be told when the stream is live. */
      onReady: () => readonly StreamEvent[]
      onLeave: () => void
    },
  ) {
    this.#db = db
    this.#tail = tail
    this.filter = filter
    this.#limits = options.limits
    this.#after = options.after
    this.#payForReplay = options.payForReplay
    this.#onReady = options.onReady
    this.#onLeave = options.onLeave
  }

  /**
   * The next events, as soon as there is one; undefined when the stream has ended. Not to be called again before it has
   * resolved. What it throws is a failure to read the log, and the end of the stream.
   */
  async next(): Promise<readonly StreamEvent[] | undefined> {
    try {
      for (;;) {
        if (this.#left) return undefined
        if (this.#pending.length > 0) return this.#take()
        if (this.#ended !== undefined) {
          this.leave()
          return [{ type: 'end', reason: this.#ended }]
        }
        if (this.#state === 'starting') await this.#start()
        else if (this.#state === 'behind') await this.#catchUp()
        else {
          await this.#woken()
        }
      }
    } catch (error) {
      this.leave()
      throw error
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Yielded, void, undefined> {
    try {
      for (let events = await this.next(); events; events = await this.next()) {
        for (const event of events) yield 'cursor' in event ? tracked(event.cursor, event) : event
      }
    } finally {
      this.leave()
    }
  }

  /** Gives a live event to the reader. Must be called in the order of positions. */
  deliver(event: StreamEvent): void {
    if (this.#state !== 'live') return
    if ('position' in event && event.position <= this.#joinedAt) return
    const { pending, pendingCharacters } = this.#limits
    this.#pendingCharacters += charactersOf(event)
    if (this.#pending.length >= pending || this.#pendingCharacters > pendingCharacters) {
      this.#take()
      this.#fallBehind()
    } else {
      if (this.#pending.length === 0) {
        // All that came before was handed over, and what was not for this stream need not be looked through again.
        const before = 'position' in event ? event.position - 1 : this.#tail.position
        this.#position = Math.max(this.#position, before)
      }
      this.#pending.push(event)
    }
    this.#wakeUp()
  }

  /**
   * The tail cannot go on from its position: the reader gets what waits for it, and then what the table still has, or a
   * `reset` if that is another history.
   */
  loseTouch(): void {
    this.#position = Math.max(this.#position, this.#tail.position)
    this.#fallBehind()
    this.#wakeUp()
  }

  /** The reader gets what waits for it, then the reason. */
  end(reason: EndReason): void {
    this.#ended ??= reason
    this.#wakeUp()
  }

  /** The reader is gone. */
  leave(): void {
    if (this.#left) return
    this.#left = true
    this.#pending = []
    this.#tail.leave(this)
    this.#onLeave()
    this.#wakeUp()
  }

  #take(): readonly StreamEvent[] {
    const taken = this.#pending
    this.#pending = []
    this.#pendingCharacters = 0
    return taken
  }

  #woken(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  /** The next page waits until the reader has paid for this one. */
  #pay(events: readonly StreamEvent[]): void {
    if (!this.#payForReplay || events.length === 0) return
    const settle = () => {
      this.#paying = undefined
    }
    this.#paying = this.#payForReplay(jsonBytes(events)).then(settle, settle)
  }

  #wakeUp(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }

  async #start(): Promise<void> {
    await this.#tail.start()
    const bounds = await this.#findBounds()
    this.#history = this.#tail.history
    const position = this.#after === undefined ? bounds.head : this.#positionOf(this.#after, bounds)
    if (position === undefined) this.#reset('unknown')
    else this.#position = position
    this.#state = 'behind'
  }

  /** Where the log of the tail's history begins and ends. */
  async #findBounds(): Promise<EventLogBounds> {
    for (;;) {
      const since = this.#tail.mark()
      const bounds = await eventLogBounds(this.#db.read, { orgId: this.filter.orgId })
      if (this.#tail.look(bounds, since)) return bounds
    }
  }

  #positionOf(text: string, bounds: EventLogBounds): number | undefined {
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
    this.#replayed = 0
    this.#reads = 0
  }

  /** Reads a page of what is missing, or finds that nothing is and goes live. */
  async #catchUp(): Promise<void> {
    const { orgId, rooms, userId, productName } = this.filter
    const since = this.#tail.mark()
    const end = since.position
    if (this.#history !== since.history) {
      this.#reset('unknown')
      return
    }
    if (this.#position >= end) {
      // Nothing else runs before the stream has joined, so the tail stays where it is.
      this.#state = 'live'
      this.#joinedAt = this.#position
      this.#tail.join(this)
      this.#pending.push({ type: 'ready', ...this.#place() }, ...this.#onReady())
      return
    }
    if (this.#paying) {
      await Promise.race([this.#paying, this.#woken()])
      return
    }
    const limits = this.#limits
    if (this.#replayed >= limits.replay || this.#reads >= limits.reads) {
      this.#reset('too_far')
      return
    }
    // Reads alone never let go of the event loop, and many may have much to read.
    if (this.#reads > 0) await turn()
    const from = this.#position
    const isWide = rooms === undefined && userId === undefined
    const upTo = isWide ? Math.min(end, from + limits.window) : end
    const scope: EventFilter = { userId, productName, roomIds: rooms?.map((room) => room.id) }
    const range = { orgId, after: from, upTo, limit: limits.page, maxBytes: PAGE_BYTES }
    const { events: page, isComplete } = await eventsInScope(this.#db.read, { ...scope, ...range })
    const bounds = await eventLogBounds(this.#db.read, { orgId })
    if (this.#left) return
    // What was read is perhaps of another history than what the reader has: the next turn finds that out.
    if (!this.#tail.look(bounds, since) || this.#tail.history !== this.#history) return
    // Asked after the page was read: what is forgotten while a stream catches up would be missing without a word.
    if (from < bounds.floor) {
      this.#reset('too_old')
      return
    }
    this.#reads++
    this.#replayed += page.length
    const events = page.map(toEvent)
    this.#pending.push(...events)
    this.#pay(events)
    const last = page.at(-1)?.event.position
    this.#position = isComplete || last === undefined ? upTo : last
  }

  /** Goes on where the tail is, and says that something is missing. */
  #reset(reason: ResetReason): void {
    this.#position = this.#tail.position
    this.#history = this.#tail.history
    // The tail moves on while the reader reads the rooms anew.
    this.#beginReplay()
    this.#pending.push({ type: 'reset', reason, ...this.#place() })
  }

  #place(): { position: number; cursor: string } {
    const epoch = this.#history?.epoch ?? ''
    return toLogPlace({ orgId: this.filter.orgId, position: this.#position, epoch })
  }
}

function charactersOf(event: StreamEvent): number {
  return 'message' in event ? event.message.messageData.length : 0
}
