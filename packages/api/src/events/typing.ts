import type { Person } from '../auth/person.ts'
import type { EphemeralEvent } from './schema.ts'
import type { RoomRef } from './stream.ts'

interface Entry {
  readonly room: RoomRef
  readonly person: Person
  isTyping: boolean
  /** When the listeners were last told that they type, in milliseconds since the Unix epoch. */
  toldAt: number
  /** Tells that they stopped; once that is told, forgets them, as soon as the next start may be told. */
  timer: NodeJS.Timeout | undefined
}

/** A person's starts are told this far apart, in milliseconds; those in between only go on with the last one. */
const INTERVAL = 2_000
/** Milliseconds after the last start until somebody counts as silent. */
const SILENCE = 6_000
/** People who type at once. Whoever comes on top of that is not shown: nobody can make this table grow further. */
const MAX_PEOPLE = 10_000

/** Who is typing in which room, in this process, and tells when somebody starts or stops. */
export class Typing {
  readonly #people = new Map<string, Entry>()
  readonly #clock: () => number
  readonly #tell: (event: EphemeralEvent, room: RoomRef) => void

  constructor(clock: () => number, tell: (event: EphemeralEvent, room: RoomRef) => void) {
    this.#clock = clock
    this.#tell = tell
  }

  /** @returns when they count as silent again unless they start anew, in milliseconds since the Unix epoch */
  start(room: RoomRef, person: Person): number {
    const now = this.#clock()
    const key = keyOf(room.id, person)
    const known = this.#people.get(key)
    if (!known && this.#people.size >= MAX_PEOPLE) return now
    const isTold = !known || now - known.toldAt >= INTERVAL
    // For who stopped a moment ago: others do not hear of it, so there is nothing to go on with.
    if (!isTold && !known.isTyping) return now
    clearTimeout(known?.timer)
    const entry: Entry = {
      room,
      person,
      isTyping: true,
      toldAt: isTold ? now : known.toldAt,
      timer: setTimeout(() => this.stop(room.id, person), SILENCE).unref(),
    }
    this.#people.set(key, entry)
    if (isTold) this.#tellOf(entry, now + SILENCE)
    return now + SILENCE
  }

  /** They count as silent from now on; says nothing of somebody who did already. @returns now */
  stop(roomId: string, person: Person): number {
    const now = this.#clock()
    const key = keyOf(roomId, person)
    const entry = this.#people.get(key)
    if (!entry?.isTyping) return now
    clearTimeout(entry.timer)
    entry.isTyping = false
    const wait = entry.toldAt + INTERVAL - now
    if (wait <= 0) this.#people.delete(key)
    else entry.timer = setTimeout(() => this.#people.delete(key), wait).unref()
    this.#tellOf(entry, now)
    return now
  }

  close(): void {
    for (const { timer } of this.#people.values()) clearTimeout(timer)
    this.#people.clear()
  }

  #tellOf({ room, person, isTyping }: Entry, expiresAt: number): void {
    const { orgId, id: roomId } = room
    const when = new Date(expiresAt)
    this.#tell({ type: 'typing', orgId, roomId, ...person, isTyping, expiresAt: when }, room)
  }
}

function keyOf(roomId: string, { userId, side }: Person): string {
  return `${roomId} ${side} ${userId}`
}
