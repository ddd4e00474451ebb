import { setImmediate as nextTurn } from 'node:timers/promises'
import { type Database, type EventLogEnd, eventLogBounds, eventsInScope } from '@dowell-chat/db'
import { PAGE_BYTES } from '../../encoding/pageBytes.ts'
import type { HiddenColumns } from '../../rooms/schema.ts'
import { type StreamEvent, toCustomerEvent, toEvent } from '../schema.ts'
import { isInFilter, type RoomRef, toRoomRef } from './streamFilter.ts'
import type { LogHistory, Tail, TailMark, TailSubscriber } from './tail.ts'

/** Reports an error with a text for the operator. */
export type OnLogError = (error: unknown, message: string) => void

/** Returns the columns of rooms that an organisation's customers do not see. */
export type HiddenFromCustomers = (orgId: string) => Promise<HiddenColumns>

export const LOG_UNREADABLE = 'the event log cannot be read'
const LOG_WENT_BACK =
  'the event log went back: the database was restored, or a failover may have lost commits'

/** Follows the log of one organisation and delivers each event to the streams whose filter it matches. */
export class OrgTail implements Tail {
  readonly #db: Database
  readonly #orgId: string
  readonly #pageSize: number
  readonly #onError: OnLogError
  readonly #hiddenFromCustomers: HiddenFromCustomers
  /** Live streams, each under its narrowest filter: rooms, user, or none. */
  readonly #byRoom = new Map<string, Set<TailSubscriber>>()
  readonly #byUser = new Map<string, Set<TailSubscriber>>()
  readonly #unfiltered = new Set<TailSubscriber>()
  #starting: Promise<void> | undefined
  #history: LogHistory | undefined
  #position = 0
  /** The log reaches at least to here. */
  #head = 0
  /** True until the tail has started, too: a commit in that time sets #isDirty and is read afterwards. */
  #isReading = true
  #isDirty = false
  #references = 0

  constructor(
    db: Database,
    orgId: string,
    pageSize: number,
    onError: OnLogError,
    hiddenFromCustomers: HiddenFromCustomers,
  ) {
    this.#db = db
    this.#orgId = orgId
    this.#pageSize = pageSize
    this.#onError = onError
    this.#hiddenFromCustomers = hiddenFromCustomers
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
    this.#isReading = false
    if (this.#isDirty) this.wake()
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

  checkEnd({ epoch, head }: EventLogEnd, since: TailMark): boolean {
    const history = this.#history
    if (history === undefined || since.history !== history) return false
    if (epoch === history.epoch && head >= since.position) return true
    this.#history = { epoch }
    this.#position = this.#head = head
    this.#reportGap()
    const change = `from position ${since.position} of epoch ${history.epoch} to ${head} of ${epoch}`
    const error = new Error(`the log of ${this.#orgId} went ${change}; its streams are reset`)
    this.#onError(error, LOG_WENT_BACK)
    return true
  }

  retain(): void {
    this.#references++
  }

  /** @returns true when no stream uses the tail any more */
  release(): boolean {
    return --this.#references === 0
  }

  join(stream: TailSubscriber): void {
    for (const set of this.#setsOf(stream)) set.add(stream)
  }

  leave(stream: TailSubscriber): void {
    const { rooms, userId } = stream.filter
    this.#unfiltered.delete(stream)
    for (const { id } of rooms ?? []) remove(this.#byRoom, id, stream)
    if (userId !== undefined) remove(this.#byUser, userId, stream)
  }

  /**
   * Reads new events.
   *
   * @param head where the log ends, if known: then it reads only when that is ahead
   */
  wake(head?: number): void {
    if (head !== undefined) {
      if (head <= this.#position) return
      this.#head = head
    }
    this.#isDirty = true
    if (!this.#isReading) this.#readNewEvents()
  }

  /** @param forCustomers the event as customers see it */
  deliver(event: StreamEvent, room: RoomRef, forCustomers = event): void {
    const groups = [this.#byRoom.get(room.id), this.#byUser.get(room.userId), this.#unfiltered]
    for (const group of groups) {
      for (const stream of group ?? []) {
        if (!isInFilter(stream.filter, room)) continue
        stream.deliver(stream.isCustomer ? forCustomers : event)
      }
    }
  }

  async #readNewEvents(): Promise<void> {
    this.#isReading = true
    try {
      while (this.#isDirty && this.#references > 0) {
        this.#isDirty = false
        const since = this.mark()
        const { events: page, isComplete } = await eventsInScope(this.#db.read, {
          orgId: this.#orgId,
          after: this.#position,
          upTo: Number.MAX_SAFE_INTEGER,
          limit: this.#pageSize,
          maxBytes: PAGE_BYTES,
        })
        const hidden = await this.#hiddenFromCustomers(this.#orgId)
        const isOfHistory = page.every(({ epoch }) => epoch === since.history?.epoch)
        if (!isOfHistory) {
          this.checkEnd(await eventLogBounds(this.#db.read, { orgId: this.#orgId }), since)
        }
        if (!isOfHistory || this.#history !== since.history) {
          // The page does not continue the streams' history. If a new one has started, read on from its position. If not,
          // two database servers disagree, and the next sweep asks again.
          this.#isDirty ||= this.#history !== since.history
          continue
        }
        const events = page.map((logged) => {
          const event = toEvent(logged)
          return [event, toRoomRef(logged.room), toCustomerEvent(logged, event, hidden)] as const
        })
        // Positions have no gaps: a missing one was deleted by the retention before it was read.
        const next = page[0]?.event.position ?? this.#head + 1
        if (next > this.#position + 1) this.#reportGap()
        // No await from the first delivery to the new position: a stream joins before all of these events or after.
        for (const [event, room, forCustomers] of events) this.deliver(event, room, forCustomers)
        this.#position = page.at(-1)?.event.position ?? Math.max(this.#position, this.#head)
        if (isComplete) continue
        this.#isDirty = true
        // Let the readers take this page before the next one.
        await nextTurn()
      }
    } catch (error) {
      // The next sweep finds the log ahead and tries again.
      this.#onError(error, LOG_UNREADABLE)
    } finally {
      this.#isReading = false
    }
  }

  #reportGap(): void {
    const groups = [...this.#byRoom.values(), ...this.#byUser.values(), this.#unfiltered]
    for (const stream of groups.flatMap((group) => [...group])) stream.onGap()
  }

  #setsOf({ filter }: TailSubscriber): Set<TailSubscriber>[] {
    if (filter.rooms) return filter.rooms.map((room) => getOrCreateSet(this.#byRoom, room.id))
    if (filter.userId !== undefined) return [getOrCreateSet(this.#byUser, filter.userId)]
    return [this.#unfiltered]
  }
}

function getOrCreateSet<T>(sets: Map<string, Set<T>>, key: string): Set<T> {
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
