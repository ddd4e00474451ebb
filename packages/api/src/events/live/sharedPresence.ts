import type { Peers } from '@dowell-chat/db'
import { Presence, type PresenceState } from './presence.ts'
import type { RoomRef } from './stream.ts'

/** Who has a room open, at one instance. */
interface Here extends PresenceState {
  readonly room: RoomRef
}

/** What one instance says of its rooms. Without a room it says no more than that it is there. */
interface Said {
  readonly rooms: readonly Here[]
  /** There are no others. */
  readonly isAll?: boolean
  /** The others are asked to say the same of theirs. */
  readonly isQuestion?: boolean
}

interface Instance {
  /** Beats of this one since the other was heard. */
  silence: number
  rooms: Map<string, Here>
}

const TOPIC = 'presence'

/** How often an instance says that it is there, in milliseconds, and how many beats of silence it is allowed. */
const BEAT = 10_000
const SILENCE = 3

const NOBODY: PresenceState = { customer: false, support: false }

/**
 * Presence over all instances. Each one tells the others which sides it has in which room, and works out the whole from what
 * it has heard, so they need not agree on anything: what a killed instance said is forgotten by each of them.
 */
export class SharedPresence {
  readonly #peers: Peers | undefined
  readonly #tell: (room: RoomRef, state: PresenceState) => void
  readonly #own: Presence
  readonly #ownRooms = new Map<string, Here>()
  readonly #others = new Map<string, Instance>()
  /** Rooms that somebody has open anywhere. */
  readonly #told = new Map<string, PresenceState>()
  readonly #stops: (() => void)[] = []

  /** @param tell called when a side comes to a room or leaves it, anywhere */
  constructor(peers: Peers | undefined, tell: (room: RoomRef, state: PresenceState) => void) {
    this.#peers = peers
    this.#tell = tell
    this.#own = new Presence((room, state) => {
      const here = { room, ...state }
      this.#set(this.#ownRooms, here)
      this.#say({ rooms: [here] })
    })
    if (!peers) return
    const beating = setInterval(() => this.#beat(), BEAT).unref()
    this.#stops.push(
      () => clearInterval(beating),
      peers.on(TOPIC, (said, from) => this.#hear(said as Said, from)),
      peers.onJoin(() => this.#sayAll({ isQuestion: true })),
    )
  }

  stateOf(roomId: string): PresenceState {
    return this.#told.get(roomId) ?? NOBODY
  }

  enter(room: RoomRef, side: boolean): void {
    this.#own.enter(room, side)
  }

  leave(roomId: string, side: boolean): void {
    this.#own.leave(roomId, side)
  }

  close(): void {
    for (const stop of this.#stops) stop()
    this.#own.close()
  }

  #say(said: Said): void {
    this.#peers?.send(TOPIC, said)
  }

  #sayAll({ isQuestion }: { isQuestion: boolean }): void {
    this.#say({ rooms: [...this.#ownRooms.values()], isAll: true, isQuestion })
  }

  #hear({ rooms, isAll, isQuestion }: Said, from: string): void {
    let other = this.#others.get(from)
    if (!other) {
      other = { silence: 0, rooms: new Map() }
      this.#others.set(from, other)
      // It has said more than this, which nobody heard here.
      if (!isAll) this.#sayAll({ isQuestion: true })
    }
    other.silence = 0
    const left = new Map(isAll ? other.rooms : [])
    for (const here of rooms) {
      left.delete(here.room.id)
      this.#set(other.rooms, here)
    }
    for (const { room } of left.values()) this.#set(other.rooms, { room, ...NOBODY })
    if (isQuestion) this.#sayAll({ isQuestion: false })
  }

  #beat(): void {
    this.#say({ rooms: [] })
    for (const [name, other] of this.#others) {
      if (++other.silence <= SILENCE) continue
      this.#others.delete(name)
      for (const { room } of [...other.rooms.values()]) this.#set(other.rooms, { room, ...NOBODY })
    }
  }

  #set(rooms: Map<string, Here>, here: Here): void {
    const { room, customer, support } = here
    if (customer || support) rooms.set(room.id, here)
    else rooms.delete(room.id)
    const before = this.stateOf(room.id)
    const all = [this.#ownRooms, ...[...this.#others.values()].map((other) => other.rooms)]
    const state = {
      customer: all.some((some) => some.get(room.id)?.customer),
      support: all.some((some) => some.get(room.id)?.support),
    }
    if (state.customer || state.support) this.#told.set(room.id, state)
    else this.#told.delete(room.id)
    if (state.customer === before.customer && state.support === before.support) return
    this.#tell(room, state)
  }
}
