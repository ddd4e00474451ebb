import type { RoomRef } from './streamFilter.ts'

/** Which of the two sides have a room open. */
export interface PresenceState {
  readonly customer: boolean
  readonly support: boolean
}

interface SideEntry {
  openStreams: number
  isPresent: boolean
  graceTimer?: NodeJS.Timeout
}

interface RoomEntry {
  readonly room: RoomRef
  readonly customer: SideEntry
  readonly support: SideEntry
}

/** A side whose stream reconnects within this time stays present. */
const GRACE_MS = 5_000

/** Counts the open streams of each side in each room of this process. */
export class Presence {
  readonly #rooms = new Map<string, RoomEntry>()
  readonly #onChange: (room: RoomRef, state: PresenceState) => void

  /** @param onChange called when a side comes or goes */
  constructor(onChange: (room: RoomRef, state: PresenceState) => void) {
    this.#onChange = onChange
  }

  stateOf(roomId: string): PresenceState {
    const entry = this.#rooms.get(roomId)
    return {
      customer: entry?.customer.isPresent ?? false,
      support: entry?.support.isPresent ?? false,
    }
  }

  enter(room: RoomRef, side: boolean): void {
    let entry = this.#rooms.get(room.id)
    if (!entry) {
      entry = {
        room,
        customer: { openStreams: 0, isPresent: false },
        support: { openStreams: 0, isPresent: false },
      }
      this.#rooms.set(room.id, entry)
    }
    const own = side ? entry.support : entry.customer
    own.openStreams++
    clearTimeout(own.graceTimer)
    if (own.isPresent) return
    own.isPresent = true
    this.#onChange(room, this.stateOf(room.id))
  }

  leave(roomId: string, side: boolean): void {
    const entry = this.#rooms.get(roomId)
    if (!entry) return
    const own = side ? entry.support : entry.customer
    if (--own.openStreams > 0) return
    own.graceTimer = setTimeout(() => {
      own.isPresent = false
      const state = this.stateOf(roomId)
      if (!state.customer && !state.support) this.#rooms.delete(roomId)
      this.#onChange(entry.room, state)
    }, GRACE_MS).unref()
  }

  close(): void {
    for (const { customer, support } of this.#rooms.values()) {
      clearTimeout(customer.graceTimer)
      clearTimeout(support.graceTimer)
    }
    this.#rooms.clear()
  }
}
