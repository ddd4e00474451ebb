import {
  type Database,
  type EventFilter,
  eventLogBounds,
  eventsInScope,
  type RoomRow,
} from '@dowell-chat/db'
import { type TrackedEnvelope, tracked } from '@trpc/server'
import { decodeEventCursor } from './cursor.ts'
import {
  type EndReason,
  type ResetReason,
  type StreamEvent,
  toEvent,
  toLogPlace,
} from './schema.ts'

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

/** The part of an organisation's log that this process has read, for all streams at once. */
export interface Tail {
  /** Every event up to here was given to the streams that were live then. */
  readonly position: number
  /** Resolves when `position` is known. */
  readonly started: Promise<void>
  join(stream: EventStream): void
  leave(stream: EventStream): void
}

/** Events that may wait for a reader before it has to read them from the table again. */
const MAX_PENDING = 256
/** Events of one read of the table. */
const PAGE = 200
/** Positions of one read that looks at every room's events: it must not hold the others up. */
const WINDOW = 2_000
/** What a stream replays, at most: to read the rooms anew is cheaper by then. */
const MAX_REPLAY = 10_000
const MAX_READS = 500

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
  /** Everything up to here was handed over, or waits in #pending and will not be dropped. */
  #position = -1
  #pending: StreamEvent[] = []
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
      /** A cursor, from whoever. */
      after?: string | undefined
      /** What else is to be told when the stream is live. */
      onReady: () => readonly StreamEvent[]
      onLeave: () => void
    },
  ) {
    this.#db = db
    this.#tail = tail
    this.filter = filter
    this.#after = options.after
    this.#onReady = options.onReady
    this.#onLeave = options.onLeave
  }

  /**
   * The next events, as soon as there is one; undefined when the stream has ended. Not to be called again before it has
   * resolved.
   */
  async next(): Promise<readonly StreamEvent[] | undefined> {
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
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      }
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
    if (this.#pending.length >= MAX_PENDING) {
      this.#pending = []
      this.#fallBehind()
    } else this.#pending.push(event)
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
    if (this.#state === 'live') {
      const last = taken.findLast((event) => 'position' in event)
      if (last && 'position' in last) this.#position = last.position
    }
    return taken
  }

  #wakeUp(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }

  async #start(): Promise<void> {
    await this.#tail.started
    const { orgId } = this.filter
    const { head, floor } = await eventLogBounds(this.#db.read, { orgId })
    if (this.#after === undefined) this.#position = this.#tail.position
    else {
      const position = decodeEventCursor(orgId, this.#after)
      if (position === undefined || position > head) this.#reset('unknown')
      else if (position < floor) this.#reset('too_old')
      else this.#position = position
    }
    this.#state = 'behind'
  }

  #fallBehind(): void {
    this.#state = 'behind'
    this.#replayed = 0
    this.#reads = 0
    this.#tail.leave(this)
  }

  /** Reads a page of what is missing, or finds that nothing is and goes live. */
  async #catchUp(): Promise<void> {
    const { orgId, rooms, userId, productName } = this.filter
    const { position: end } = this.#tail
    if (this.#position >= end) {
      // Nothing else runs before the stream has joined, so the tail stays where it is.
      this.#state = 'live'
      this.#joinedAt = this.#position
      this.#tail.join(this)
      this.#pending.push({ type: 'ready', ...this.#place() }, ...this.#onReady())
      return
    }
    if (this.#replayed >= MAX_REPLAY || this.#reads >= MAX_READS) {
      this.#reset('too_far')
      return
    }
    const isWide = rooms === undefined && userId === undefined
    const upTo = isWide ? Math.min(end, this.#position + WINDOW) : end
    const scope: EventFilter = { userId, productName, roomIds: rooms?.map((room) => room.id) }
    const page = await eventsInScope(this.#db.read, {
      ...scope,
      orgId,
      after: this.#position,
      upTo,
      limit: PAGE,
    })
    if (this.#left) return
    this.#reads++
    this.#replayed += page.length
    this.#pending.push(...page.map(toEvent))
    const last = page.at(-1)?.event.position
    this.#position = page.length < PAGE || last === undefined ? upTo : last
  }

  /** Goes on where the tail is, and says that something is missing. */
  #reset(reason: ResetReason): void {
    this.#position = this.#tail.position
    this.#pending.push({ type: 'reset', reason, ...this.#place() })
  }

  #place(): { position: number; cursor: string } {
    return toLogPlace({ orgId: this.filter.orgId, position: this.#position })
  }
}
