import type { RoomRef } from './streamFilter.ts'

/** How long a side stays present without a heartbeat of its reader. With the grace time, absent within 60 seconds. */
export const HEARTBEAT_TTL_MS = 45_000

/** Where presence is counted. */
interface PresenceCounter {
  enter(room: RoomRef, side: boolean): void
  leave(roomId: string, side: boolean): void
}

/** The presence of one stream in its rooms. */
export class StreamPresence {
  readonly #counter: PresenceCounter
  readonly #rooms: readonly RoomRef[]
  readonly #side: boolean
  #isEntered = false
  #confirmedAt = 0

  constructor(counter: PresenceCounter, rooms: readonly RoomRef[], side: boolean) {
    this.#counter = counter
    this.#rooms = rooms
    this.#side = side
  }

  enter(now: number): void {
    this.#confirmedAt = now
    if (this.#isEntered) return
    this.#isEntered = true
    for (const room of this.#rooms) this.#counter.enter(room, this.#side)
  }

  leave(): void {
    if (!this.#isEntered) return
    this.#isEntered = false
    for (const { id } of this.#rooms) this.#counter.leave(id, this.#side)
  }

  /** Leaves when the last heartbeat is too old. A clock that was put back must not make it longer. */
  expire(now: number): void {
    const age = now - this.#confirmedAt
    if (age < 0) this.#confirmedAt = now
    else if (age >= HEARTBEAT_TTL_MS) this.leave()
  }
}

/** The streams whose readers promise heartbeats, by caller and stream id. */
export class DeclaredPresence {
  readonly #byKey = new Map<string, Set<StreamPresence>>()

  /** @returns a function that removes it */
  add(key: string, presence: StreamPresence): () => void {
    const group = this.#byKey.get(key) ?? new Set()
    this.#byKey.set(key, group.add(presence))
    return () => {
      if (group.delete(presence) && group.size === 0) this.#byKey.delete(key)
    }
  }

  /** @returns whether this process has such a stream */
  confirm(key: string, now: number): boolean {
    const group = this.#byKey.get(key)
    for (const presence of group ?? []) presence.enter(now)
    return group !== undefined
  }

  expire(now: number): void {
    for (const group of this.#byKey.values()) for (const presence of group) presence.expire(now)
  }
}
