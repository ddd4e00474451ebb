import type { RoomRef } from './stream.ts'

/** Who of the two sides has a room open. */
export interface PresenceState {
  readonly customer: boolean
  readonly support: boolean
}

interface Entry {
  readonly room: RoomRef
  /** Open streams of each side. */
  customer: number
  support: number
  told: PresenceState
  leaving: NodeJS.Timeout | undefined
}

/** A stream that comes back within this, in milliseconds, was never gone. */
const GRACE = 5_000

/** Counts the open streams of each side in each room, and tells when a side comes or goes. */
export class Presence {
  readonly #rooms = new Map<string, Entry>()
  readonly #tell: (room: RoomRef, state: PresenceState) => void

  constructor(tell: (room: RoomRef, state: PresenceState) => void) {
    this.#tell = tell
  }

  stateOf(roomId: string): PresenceState {
    return this.#rooms.get(roomId)?.told ?? { customer: false, support: false }
  }

  enter(room: RoomRef, side: boolean): void {
    let entry = this.#rooms.get(room.id)
    if (!entry) {
      const told = { customer: false, support: false }
      entry = { room, customer: 0, support: 0, told, leaving: undefined }
      this.#rooms.set(room.id, entry)
    }
    entry[side ? 'support' : 'customer']++
    if (!entry.told[side ? 'support' : 'customer']) this.#update(entry)
  }

  leave(roomId: string, side: boolean): void {
    const entry = this.#rooms.get(roomId)
    if (!entry) return
    const left = --entry[side ? 'support' : 'customer']
    if (left > 0) return
    clearTimeout(entry.leaving)
    entry.leaving = setTimeout(() => this.#update(entry), GRACE).unref()
  }

  close(): void {
    for (const entry of this.#rooms.values()) clearTimeout(entry.leaving)
    this.#rooms.clear()
  }

  #update(entry: Entry): void {
    const state = { customer: entry.customer > 0, support: entry.support > 0 }
    const same = state.customer === entry.told.customer && state.support === entry.told.support
    entry.told = state
    if (!state.customer && !state.support) this.#rooms.delete(entry.room.id)
    if (!same) this.#tell(entry.room, state)
  }
}
