import type { Peers } from '@dowell-chat/db'
import type { Participant } from '../../auth/participant.ts'
import type { EphemeralEvent } from '../schema.ts'
import type { RoomRef } from './stream.ts'

interface Entry {
  readonly room: RoomRef
  readonly person: Participant
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

/** The topic on which instances tell each other of it. */
const TOPIC = 'typing'

interface Told {
  readonly room: RoomRef
  readonly person: Participant
  readonly isTyping: boolean
}

/**
 * Who is typing in which room, and tells those who listen here when somebody starts or stops. Instances say both to each
 * other, so somebody may start on one and stop on another; that somebody fell silent, each finds by itself.
 */
export class Typing {
  readonly #people = new Map<string, Entry>()
  readonly #clock: () => number
  readonly #peers: Peers | undefined
  readonly #tell: (event: EphemeralEvent, room: RoomRef) => void
  readonly #stopHearing: (() => void) | undefined

  constructor(
    clock: () => number,
    peers: Peers | undefined,
    tell: (event: EphemeralEvent, room: RoomRef) => void,
  ) {
    this.#clock = clock
    this.#peers = peers
    this.#tell = tell
    this.#stopHearing = peers?.on(TOPIC, (told) => {
      const { room, person, isTyping } = told as Told
      if (isTyping) this.#begin(room, person)
      else this.#end(room.id, person)
    })
  }

  /** @returns when they count as silent again unless they start anew, in milliseconds since the Unix epoch */
  start(room: RoomRef, person: Participant): number {
    if (this.#begin(room, person)) this.#say({ room, person, isTyping: true })
    const isTyping = this.#people.get(keyOf(room.id, person))?.isTyping
    return this.#clock() + (isTyping ? SILENCE : 0)
  }

  /** They count as silent from now on; says nothing of somebody who did already. @returns now */
  stop(roomId: string, person: Participant): number {
    const room = this.#end(roomId, person)
    if (room) this.#say({ room, person, isTyping: false })
    return this.#clock()
  }

  close(): void {
    this.#stopHearing?.()
    for (const { timer } of this.#people.values()) clearTimeout(timer)
    this.#people.clear()
  }

  /** @returns whether it was told */
  #begin(room: RoomRef, person: Participant): boolean {
    const now = this.#clock()
    const key = keyOf(room.id, person)
    const known = this.#people.get(key)
    if (!known && this.#people.size >= MAX_PEOPLE) return false
    const isTold = !known || leftOf(known, now) === 0
    // For who stopped a moment ago: others do not hear of it, so there is nothing to go on with.
    if (!isTold && !known.isTyping) return false
    clearTimeout(known?.timer)
    const entry: Entry = {
      room,
      person,
      isTyping: true,
      toldAt: isTold ? now : known.toldAt,
      timer: setTimeout(() => this.#end(room.id, person), SILENCE).unref(),
    }
    this.#people.set(key, entry)
    if (isTold) this.#tellOf(entry, now + SILENCE)
    return isTold
  }

  /** @returns the room, if it was told */
  #end(roomId: string, person: Participant): RoomRef | undefined {
    const now = this.#clock()
    const key = keyOf(roomId, person)
    const entry = this.#people.get(key)
    if (!entry?.isTyping) return undefined
    clearTimeout(entry.timer)
    entry.isTyping = false
    const wait = leftOf(entry, now)
    if (wait === 0) this.#people.delete(key)
    else entry.timer = setTimeout(() => this.#people.delete(key), wait).unref()
    this.#tellOf(entry, now)
    return entry.room
  }

  #say(told: Told): void {
    this.#peers?.send(TOPIC, told)
  }

  #tellOf({ room, person, isTyping }: Entry, expiresAt: number): void {
    const { orgId, id: roomId } = room
    const when = new Date(expiresAt)
    this.#tell({ type: 'typing', orgId, roomId, ...person, isTyping, expiresAt: when }, room)
  }
}

/** Until the next start may be told, in milliseconds. A clock that was put back must not make it longer. */
function leftOf({ toldAt }: Entry, now: number): number {
  return now < toldAt ? 0 : Math.max(0, toldAt + INTERVAL - now)
}

function keyOf(roomId: string, { userId, side }: Participant): string {
  return `${roomId} ${side} ${userId}`
}
