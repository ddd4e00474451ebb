import type { Peers } from '@dowell-chat/db'
import { Presence, type PresenceState } from './presence.ts'
import type { RoomRef } from './streamFilter.ts'

/** The sides that are present in a room at one instance. */
interface LocalPresence extends PresenceState {
  readonly room: RoomRef
}

/** From one instance to the others. Without rooms it is a heartbeat. The keys stay, for upgrades instance by instance. */
interface PresenceMessage {
  readonly rooms: readonly LocalPresence[]
  /** `rooms` has every room of the sender. */
  readonly isAll?: boolean
  /** The receivers should send all their rooms. */
  readonly isQuestion?: boolean
}

interface Peer {
  /** Heartbeats of this instance since the last message of the peer. */
  missedHeartbeats: number
  rooms: Map<string, LocalPresence>
}

const TOPIC = 'presence'

const HEARTBEAT_MS = 10_000
/** A peer that misses more is dropped. */
const MAX_MISSED_HEARTBEATS = 3

const ABSENT: PresenceState = { customer: false, support: false }

/**
 * Presence over all instances. Each instance sends the sides that it has in each room, and computes the whole from the
 * messages of the others. They need no agreement: each drops a silent instance by itself.
 */
export class SharedPresence {
  readonly #peers: Peers | undefined
  readonly #onChange: (room: RoomRef, state: PresenceState) => void
  readonly #local: Presence
  readonly #localRooms = new Map<string, LocalPresence>()
  readonly #remote = new Map<string, Peer>()
  /** The rooms with a side present at any instance. */
  readonly #states = new Map<string, PresenceState>()
  readonly #stops: (() => void)[] = []

  /** @param onChange called when a side comes to a room or leaves it, at any instance */
  constructor(peers: Peers | undefined, onChange: (room: RoomRef, state: PresenceState) => void) {
    this.#peers = peers
    this.#onChange = onChange
    this.#local = new Presence((room, state) => {
      const presence = { room, ...state }
      this.#update(this.#localRooms, presence)
      this.#send({ rooms: [presence] })
    })
    if (!peers) return
    const heartbeat = setInterval(() => this.#beat(), HEARTBEAT_MS).unref()
    this.#stops.push(
      () => clearInterval(heartbeat),
      peers.on(TOPIC, (message, from) => this.#receive(message as PresenceMessage, from)),
      peers.onJoin(() => this.#sendAll({ isQuestion: true })),
    )
  }

  stateOf(roomId: string): PresenceState {
    return this.#states.get(roomId) ?? ABSENT
  }

  enter(room: RoomRef, side: boolean): void {
    this.#local.enter(room, side)
  }

  leave(roomId: string, side: boolean): void {
    this.#local.leave(roomId, side)
  }

  close(): void {
    for (const stop of this.#stops) stop()
    this.#local.close()
  }

  #send(message: PresenceMessage): void {
    this.#peers?.send(TOPIC, message)
  }

  #sendAll({ isQuestion }: { isQuestion: boolean }): void {
    this.#send({ rooms: [...this.#localRooms.values()], isAll: true, isQuestion })
  }

  #receive({ rooms, isAll, isQuestion }: PresenceMessage, from: string): void {
    let peer = this.#remote.get(from)
    if (!peer) {
      peer = { missedHeartbeats: 0, rooms: new Map() }
      this.#remote.set(from, peer)
      // Its earlier messages were missed.
      if (!isAll) this.#sendAll({ isQuestion: true })
    }
    peer.missedHeartbeats = 0
    const gone = new Map(isAll ? peer.rooms : [])
    for (const presence of rooms) {
      gone.delete(presence.room.id)
      this.#update(peer.rooms, presence)
    }
    for (const { room } of gone.values()) this.#update(peer.rooms, { room, ...ABSENT })
    if (isQuestion) this.#sendAll({ isQuestion: false })
  }

  #beat(): void {
    this.#send({ rooms: [] })
    for (const [name, peer] of this.#remote) {
      if (++peer.missedHeartbeats <= MAX_MISSED_HEARTBEATS) continue
      this.#remote.delete(name)
      for (const { room } of [...peer.rooms.values()]) this.#update(peer.rooms, { room, ...ABSENT })
    }
  }

  #update(rooms: Map<string, LocalPresence>, presence: LocalPresence): void {
    const { room, customer, support } = presence
    if (customer || support) rooms.set(room.id, presence)
    else rooms.delete(room.id)
    const before = this.stateOf(room.id)
    const all = [this.#localRooms, ...[...this.#remote.values()].map((peer) => peer.rooms)]
    const state = {
      customer: all.some((one) => one.get(room.id)?.customer),
      support: all.some((one) => one.get(room.id)?.support),
    }
    if (state.customer || state.support) this.#states.set(room.id, state)
    else this.#states.delete(room.id)
    if (state.customer === before.customer && state.support === before.support) return
    this.#onChange(room, state)
  }
}
