import type { RoomRef } from './stream.ts'

/** Who of the two sides has a room open. */
export interface PresenceState {
  readonly customer: boolean
  readonly support: boolean
}

interface Side {
  /** Open streams. */
  open: number
  isHere: boolean
  leaving?: NodeJS.Timeout
}

interface Entry {
  readonly room: RoomRef
  readonly customer: Side
  readonly support: Side
}

/** A side whose stream comes back within this, in milliseconds, was never gone. */
const GRACE = 5_000

/** Counts the open streams of each side in each room, and tells when a side comes or goes. */
export class Presence {
  readonly #rooms = new Map<string, Entry>()
  readonly #tell: (room: RoomRef, state: PresenceState) => void

  constructor(tell: (room: RoomRef, state: PresenceState) => void) {
    this.#tell = tell
  }

  stateOf(roomId: string): PresenceState {
    const entry = this.#rooms.get(roomId)
    return {
      customer: entry?.customer.isHere ?? false,
      support: entry?.support.isHere ?? false,
    }
  }

  enter(room: RoomRef, side: boolean): void {
    let entry = this.#rooms.get(room.id)
    if (!entry) {
      entry = { room, customer: { open: 0, isHere: false }, support: { open: 0, isHere: false } }
      this.#rooms.set(room.id, entry)
    }
    const own = side ? entry.support : entry.customer
    own.open++
    clearTimeout(own.leaving)
    if (own.isHere) return
    own.isHere = true
    this.#tell(room, this.stateOf(room.id))
  }

  leave(roomId: string, side: boolean): void {
    const entry = this.#rooms.get(roomId)
    if (!entry) return
    const own = side ? entry.support : entry.customer
    if (--own.open > 0) return
    own.leaving = setTimeout(() => {
      own.isHere = false
      const state = this.stateOf(roomId)
      if (!state.customer && !state.support) this.#rooms.delete(roomId)
      this.#tell(entry.room, state)
    }, GRACE).unref()
  }

  close(): void {
    for (const { customer, support } of this.#rooms.values()) {
      clearTimeout(customer.leaving)
      clearTimeout(support.leaving)
    }
    this.#rooms.clear()
  }
}
