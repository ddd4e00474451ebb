import { setImmediate as turn } from 'node:timers/promises'
import {
  type Database,
  type EventLogEnd,
  eventLogBounds,
  eventLogHeads,
  eventsInScope,
} from '@dowell-chat/db'
import type { Actor } from '../../auth/actor.ts'
import { PAGE_BYTES } from '../../encoding/pageBytes.ts'
import { AppError } from '../../operation/errors.ts'
import { type EndReason, type EphemeralEvent, type StreamEvent, toEvent } from '../schema.ts'
import { SharedPresence } from './sharedPresence.ts'
import {
  EventStream,
  type LogHistory,
  type PayForReplay,
  type RoomRef,
  type StreamFilter,
  type StreamLimits,
  streamLimits,
  type Tail,
  type TailMark,
  toRoomRef,
} from './stream.ts'
import { OpenStreams, type StreamCaps } from './streamCaps.ts'
import { Typing } from './typing.ts'

export interface LiveOptions {
  readonly clock: () => number
  /** Whether a caller who was let in would be let in again. */
  readonly isStillValid: (actor: Actor) => Promise<boolean>
  /** Told when the log cannot be read, and the streams that wait for it try again; and when it went back. */
  readonly onError: (error: unknown, message: string) => void
  readonly caps: StreamCaps
  /** Milliseconds after which a stream is ended, so that readers spread over the instances. */
  readonly lifetime: number
  readonly limits?: StreamLimits
}

export interface OpenOptions {
  readonly after?: string | undefined
  /** Whose presence the stream shows in the rooms that it names; undefined for nobody's. */
  readonly side?: boolean | undefined
  /** The network that the caller is in, for the cap by address. */
  readonly address?: string | undefined
  /** Left out: replays cost nothing. */
  readonly payForReplay?: PayForReplay | undefined
}

/** What an operator is told. */
const UNREADABLE = 'the event log cannot be read'
const WENT_BACK =
  'the event log is another than before: the database was restored, or a failover may have lost commits'

/** How often streams are looked at: whether they may go on, and whether the log grew unnoticed. In milliseconds. */
const SWEEP = 1_000

/** How long a stream that was ended may still be read, in milliseconds; then it is forgotten. */
const LINGER = 30_000

/**
 * The event streams of this process. For each organisation that somebody listens to, one reader follows the log, and each
 * event becomes one object that all its streams share. The table is the source: a commit only wakes the reader, and what
 * other processes wrote is found by looking now and then.
 */
export class Live {
  readonly typing: Typing
  readonly #db: Database
  readonly #options: LiveOptions
  readonly #tails = new Map<string, OrgTail>()
  readonly #streams = new Map<EventStream, { actor: Actor; endsAt: number; expires: boolean }>()
  readonly #open: OpenStreams
  readonly #limits: StreamLimits
  readonly #presence: SharedPresence
  readonly #stopListening: () => void
  readonly #sweeping: NodeJS.Timeout
  #sweepRuns = false
  #closing: EndReason | undefined

  constructor(db: Database, options: LiveOptions) {
    this.#db = db
    this.#options = options
    this.#limits = options.limits ?? streamLimits
    this.#open = new OpenStreams(options.caps)
    this.#presence = new SharedPresence(db.peers, (room, state) =>
      this.publish({ type: 'presence', orgId: room.orgId, roomId: room.id, ...state }, room),
    )
    this.typing = new Typing(options.clock, db.peers, (event, room) => this.publish(event, room))
    const wake = (orgIds: Iterable<string>) => {
      for (const orgId of orgIds) this.#tails.get(orgId)?.wake()
    }
    // Who was not connected to the others may have missed their words.
    const stops = [db.onEvents(wake), db.peers?.onJoin(() => wake(this.#tails.keys()))]
    this.#stopListening = () => {
      for (const stop of stops) stop?.()
    }
    this.#sweeping = setInterval(() => this.#sweep(), SWEEP).unref()
  }

  /** How many streams are open. */
  get size(): number {
    return this.#streams.size
  }

  /**
   * Opens a stream for a caller who was authorised for all that the filter lets through.
   *
   * @throws AppError TOO_MANY_REQUESTS or SERVICE_UNAVAILABLE when there are too many already
   */
  open(actor: Actor, filter: StreamFilter, options: OpenOptions = {}): EventStream {
    const { after, side, address, payForReplay } = options
    const { clock, lifetime } = this.#options
    if (this.#closing) {
      throw new AppError('SERVICE_UNAVAILABLE', {
        message: 'The server is shutting down',
        retryAfter: 1,
      })
    }
    const free = this.#open.take({ actor, address, orgId: filter.orgId })
    const tail = this.#tailOf(filter.orgId)
    const rooms = side === undefined ? [] : (filter.rooms ?? [])
    const stream = new EventStream(this.#db, tail, filter, {
      limits: this.#limits,
      after,
      payForReplay,
      onReady: () => (filter.rooms ?? []).map((room) => this.#presenceOf(room)),
      onLeave: () => {
        this.#streams.delete(stream)
        free()
        if (tail.release()) this.#tails.delete(filter.orgId)
        for (const room of rooms) this.#presence.leave(room.id, side === true)
      },
    })
    tail.hold()
    // Spread, so that what was opened together after a restart does not end together.
    const ends = clock() + lifetime * (0.9 + 0.1 * Math.random())
    const expiresAt = actor.kind === 'user' ? actor.expiresAt : Number.POSITIVE_INFINITY
    this.#streams.set(stream, {
      actor,
      endsAt: Math.min(ends, expiresAt),
      expires: expiresAt <= ends,
    })
    for (const room of rooms) this.#presence.enter(room, side === true)
    return stream
  }

  /** Tells those who listen to this process now; kept nowhere. */
  publish(event: EphemeralEvent, room: RoomRef): void {
    this.#tails.get(room.orgId)?.deliver(event, room)
  }

  /** Ends all streams and opens no more. */
  end(reason: EndReason): void {
    this.#closing = reason
    for (const stream of this.#streams.keys()) stream.end(reason)
  }

  /** Forgets all streams, ended or not. */
  close(): void {
    this.end('shutdown')
    for (const stream of [...this.#streams.keys()]) stream.leave()
    clearInterval(this.#sweeping)
    this.#stopListening()
    this.#presence.close()
    this.typing.close()
  }

  #presenceOf(room: RoomRef): StreamEvent {
    const state = this.#presence.stateOf(room.id)
    return { type: 'presence', orgId: room.orgId, roomId: room.id, ...state }
  }

  #tailOf(orgId: string): OrgTail {
    let tail = this.#tails.get(orgId)
    if (!tail) {
      tail = new OrgTail(this.#db, orgId, this.#limits.page, this.#options.onError)
      this.#tails.set(orgId, tail)
    }
    return tail
  }

  async #sweep(): Promise<void> {
    if (this.#sweepRuns || this.#streams.size === 0) return
    this.#sweepRuns = true
    try {
      this.#endOverdue()
      const marks = new Map([...this.#tails].map(([orgId, tail]) => [orgId, tail.mark()]))
      for (const end of await eventLogHeads(this.#db.read, [...marks.keys()])) {
        const tail = this.#tails.get(end.orgId)
        const since = marks.get(end.orgId)
        if (tail && since && tail.look(end, since)) tail.wake(end.head)
      }
      await this.#endRevoked()
    } catch (error) {
      this.#options.onError(error, UNREADABLE)
    } finally {
      this.#sweepRuns = false
    }
  }

  #endOverdue(): void {
    const now = this.#options.clock()
    for (const [stream, { endsAt, expires }] of this.#streams) {
      if (now >= endsAt) stream.end(expires ? 'expired' : 'lifetime')
      if (now >= endsAt + LINGER) stream.leave()
    }
  }

  /** Asks once for each credential, not for each stream. */
  async #endRevoked(): Promise<void> {
    const groups = Map.groupBy(this.#streams, ([, { actor }]) =>
      actor.kind === 'open' ? 'open' : `${actor.kind} ${actor.keyId}`,
    )
    for (const [, streams] of groups) {
      const [first] = streams
      if (!first || (await this.#options.isStillValid(first[1].actor))) continue
      for (const [stream] of streams) stream.end('revoked')
    }
  }
}

/** Follows one organisation's log and hands each event to the streams that it is for. */
class OrgTail implements Tail {
  readonly #db: Database
  readonly #orgId: string
  readonly #page: number
  readonly #onError: LiveOptions['onError']
  /** Live streams by what narrows them most: their rooms, their user, or nothing. */
  readonly #byRoom = new Map<string, Set<EventStream>>()
  readonly #byUser = new Map<string, Set<EventStream>>()
  readonly #wide = new Set<EventStream>()
  #starting: Promise<void> | undefined
  #history: LogHistory | undefined
  #position = 0
  /** Where the log is known to reach, at least. */
  #head = 0
  /** What is committed before the tail has started, or while it reads, sets #dirty, so nothing is missed. */
  #reading = true
  #dirty = false
  #holders = 0

  constructor(db: Database, orgId: string, page: number, onError: LiveOptions['onError']) {
    this.#db = db
    this.#orgId = orgId
    this.#page = page
    this.#onError = onError
  }

  start(): Promise<void> {
    this.#starting ??= this.#findHead().catch((error) => {
      this.#starting = undefined
      throw error
    })
    return this.#starting
  }

  async #findHead(): Promise<void> {
    const { head, epoch } = await eventLogBounds(this.#db.read, { orgId: this.#orgId })
    this.#history = { epoch }
    this.#position = head
    this.#reading = false
    if (this.#dirty) this.wake()
  }

  get position(): number {
    return this.#position
  }

  get history(): LogHistory | undefined {
    return this.#history
  }

  mark(): TailMark {
    return { history: this.#history, position: this.#position }
  }

  look({ epoch, head }: EventLogEnd, since: TailMark): boolean {
    const history = this.#history
    if (history === undefined || since.history !== history) return false
    if (epoch === history.epoch && head >= since.position) return true
    this.#history = { epoch }
    this.#position = this.#head = head
    this.#loseTouch()
    const change = `from position ${since.position} of epoch ${history.epoch} to ${head} of ${epoch}`
    const error = new Error(`the log of ${this.#orgId} went ${change}; its streams are reset`)
    this.#onError(error, WENT_BACK)
    return true
  }

  hold(): void {
    this.#holders++
  }

  /** @returns whether nobody needs it any more */
  release(): boolean {
    return --this.#holders === 0
  }

  join(stream: EventStream): void {
    for (const set of this.#setsOf(stream)) set.add(stream)
  }

  leave(stream: EventStream): void {
    const { rooms, userId } = stream.filter
    this.#wide.delete(stream)
    for (const { id } of rooms ?? []) remove(this.#byRoom, id, stream)
    if (userId !== undefined) remove(this.#byUser, userId, stream)
  }

  /** Reads what is new. With a head that is known already, only if there is something. */
  wake(head?: number): void {
    if (head !== undefined) {
      if (head <= this.#position) return
      this.#head = head
    }
    this.#dirty = true
    if (!this.#reading) this.#follow()
  }

  deliver(event: StreamEvent, room: RoomRef): void {
    const groups = [this.#byRoom.get(room.id), this.#byUser.get(room.userId), this.#wide]
    for (const group of groups) {
      for (const stream of group ?? []) if (matches(stream.filter, room)) stream.deliver(event)
    }
  }

  async #follow(): Promise<void> {
    this.#reading = true
    try {
      while (this.#dirty && this.#holders > 0) {
        this.#dirty = false
        const since = this.mark()
        const { events: page, isComplete } = await eventsInScope(this.#db.read, {
          orgId: this.#orgId,
          after: this.#position,
          upTo: Number.MAX_SAFE_INTEGER,
          limit: this.#page,
          maxBytes: PAGE_BYTES,
        })
        const isOfHistory = page.every(({ epoch }) => epoch === since.history?.epoch)
        if (!isOfHistory) {
          this.look(await eventLogBounds(this.#db.read, { orgId: this.#orgId }), since)
        }
        if (!isOfHistory || this.#history !== since.history) {
          // What was read does not follow what the streams had: they are reset, and go on from where that is now. Servers
          // that say different things are asked again at the next sweep.
          this.#dirty ||= this.#history !== since.history
          continue
        }
        const events = page.map((logged) => [toEvent(logged), toRoomRef(logged.room)] as const)
        // Positions have no gaps: what is missing here was forgotten before it was read.
        const next = page[0]?.event.position ?? this.#head + 1
        if (next > this.#position + 1) this.#loseTouch()
        // Nothing waits between the first delivery and the last: a stream joins before all of these or after.
        for (const [event, room] of events) this.deliver(event, room)
        this.#position = page.at(-1)?.event.position ?? Math.max(this.#position, this.#head)
        if (isComplete) continue
        this.#dirty = true
        // The readers take what they were given before there is more.
        await turn()
      }
    } catch (error) {
      // The next sweep finds that the log is ahead.
      this.#onError(error, UNREADABLE)
    } finally {
      this.#reading = false
    }
  }

  #loseTouch(): void {
    const groups = [...this.#byRoom.values(), ...this.#byUser.values(), this.#wide]
    for (const stream of groups.flatMap((group) => [...group])) stream.loseTouch()
  }

  #setsOf({ filter }: EventStream): Set<EventStream>[] {
    if (filter.rooms) return filter.rooms.map((room) => setIn(this.#byRoom, room.id))
    if (filter.userId !== undefined) return [setIn(this.#byUser, filter.userId)]
    return [this.#wide]
  }
}

function matches({ userId, productName }: StreamFilter, room: RoomRef): boolean {
  return (
    (userId === undefined || userId === room.userId) &&
    (productName === undefined || productName === room.productName)
  )
}

function setIn<T>(sets: Map<string, Set<T>>, key: string): Set<T> {
  let set = sets.get(key)
  if (!set) {
    set = new Set()
    sets.set(key, set)
  }
  return set
}

function remove<T>(sets: Map<string, Set<T>>, key: string, member: T): void {
  const set = sets.get(key)
  if (set?.delete(member) && set.size === 0) sets.delete(key)
}
