import type { Peers } from '@dowell-chat/db'
import type { Participant } from '../../auth/participant.ts'
import { expiry } from '../../encoding/fields.ts'
import type { EphemeralEvent } from '../schema.ts'
import type { RoomRef } from './streamFilter.ts'

interface Entry {
  readonly room: RoomRef
  readonly participant: Participant
  isTyping: boolean
  /** When their last start was broadcast, in milliseconds since the Unix epoch. */
  broadcastAt: number
  /** While they type: broadcasts the stop. After it: deletes the entry once a start may be broadcast again. */
  timer: NodeJS.Timeout | undefined
}

/** Starts of one participant within this time of the last broadcast one are not broadcast; they only extend it. */
const BROADCAST_INTERVAL_MS = 2_000
/** A participant without a new start for this long has stopped. */
const TYPING_TTL_MS = 6_000
/** Entries at once, which bounds the memory. Further participants are not shown as typing. */
const MAX_PARTICIPANTS = 10_000

const TOPIC = 'typing'

/** From one instance to the others. The keys stay, for upgrades instance by instance. */
interface TypingMessage {
  readonly room: RoomRef
  readonly person: Participant
  readonly isTyping: boolean
}

/**
 * Tracks who types in which room, and broadcasts starts and stops. Instances exchange both, so a participant may start at
 * one and stop at another. Each instance expires entries by itself.
 */
export class Typing {
  readonly #entries = new Map<string, Entry>()
  /** The participants who type, by room and side. */
  readonly #typists = new Map<string, Set<Entry>>()
  readonly #clock: () => number
  readonly #peers: Peers | undefined
  readonly #publish: (event: EphemeralEvent, room: RoomRef) => void
  readonly #unsubscribe: (() => void) | undefined

  /** @param publish called for each broadcast start and stop, those of other instances too */
  constructor(
    clock: () => number,
    peers: Peers | undefined,
    publish: (event: EphemeralEvent, room: RoomRef) => void,
  ) {
    this.#clock = clock
    this.#peers = peers
    this.#publish = publish
    this.#unsubscribe = peers?.on(TOPIC, (message) => {
      const { room, person, isTyping } = message as TypingMessage
      if (isTyping) this.#begin(room, person)
      else this.#end(room.id, person)
    })
  }

  /** @returns when the start expires unless it is repeated, in milliseconds since the Unix epoch */
  start(room: RoomRef, participant: Participant): number {
    if (this.#begin(room, participant)) this.#send({ room, person: participant, isTyping: true })
    const isTyping = this.#entries.get(keyOf(room.id, participant))?.isTyping
    return this.#clock() + (isTyping ? TYPING_TTL_MS : 0)
  }

  /** Broadcasts a stop if the participant types. @returns now, in milliseconds since the Unix epoch */
  stop(roomId: string, participant: Participant): number {
    const room = this.#end(roomId, participant)
    if (room) this.#send({ room, person: participant, isTyping: false })
    return this.#clock()
  }

  /**
   * Stops the sender of a message. An author may be a display name; when nobody types under it, the whole side stops, and
   * those who still type show again with their next start.
   */
  stopSender(roomId: string, author: Participant): void {
    const typists = this.#typists.get(sideKeyOf(roomId, author))
    if (!typists) return
    const participants = [...typists].map(({ participant }) => participant)
    const isTyping = participants.some(({ userId }) => userId === author.userId)
    for (const participant of isTyping ? [author] : participants) this.stop(roomId, participant)
  }

  close(): void {
    this.#unsubscribe?.()
    for (const { timer } of this.#entries.values()) clearTimeout(timer)
    this.#entries.clear()
    this.#typists.clear()
  }

  /** @returns whether it was broadcast */
  #begin(room: RoomRef, participant: Participant): boolean {
    const now = this.#clock()
    const key = keyOf(room.id, participant)
    const previous = this.#entries.get(key)
    if (!previous && this.#entries.size >= MAX_PARTICIPANTS) return false
    const isBroadcast = !previous || msUntilBroadcast(previous, now) === 0
    // Listeners saw the stop and would not see this start, so there is nothing to extend.
    if (!isBroadcast && !previous.isTyping) return false
    clearTimeout(previous?.timer)
    if (previous) this.#removeTypist(previous)
    const entry: Entry = {
      room,
      participant,
      isTyping: true,
      broadcastAt: isBroadcast ? now : previous.broadcastAt,
      timer: setTimeout(() => this.#end(room.id, participant), TYPING_TTL_MS).unref(),
    }
    this.#entries.set(key, entry)
    const sideKey = sideKeyOf(room.id, participant)
    const typists = this.#typists.get(sideKey) ?? new Set()
    this.#typists.set(sideKey, typists.add(entry))
    if (isBroadcast) this.#publishEntry(entry, now, TYPING_TTL_MS)
    return isBroadcast
  }

  /** @returns the room, if the stop was broadcast */
  #end(roomId: string, participant: Participant): RoomRef | undefined {
    const now = this.#clock()
    const key = keyOf(roomId, participant)
    const entry = this.#entries.get(key)
    if (!entry?.isTyping) return undefined
    clearTimeout(entry.timer)
    entry.isTyping = false
    this.#removeTypist(entry)
    const wait = msUntilBroadcast(entry, now)
    if (wait === 0) this.#entries.delete(key)
    else entry.timer = setTimeout(() => this.#entries.delete(key), wait).unref()
    this.#publishEntry(entry, now, 0)
    return entry.room
  }

  #removeTypist(entry: Entry): void {
    const key = sideKeyOf(entry.room.id, entry.participant)
    const typists = this.#typists.get(key)
    if (typists?.delete(entry) && typists.size === 0) this.#typists.delete(key)
  }

  #send(message: TypingMessage): void {
    this.#peers?.send(TOPIC, message)
  }

  #publishEntry({ room, participant, isTyping }: Entry, now: number, expiresInMs: number): void {
    const { orgId, id: roomId } = room
    const expires = expiry(now + expiresInMs, now)
    this.#publish({ type: 'typing', orgId, roomId, ...participant, isTyping, ...expires }, room)
  }
}

/** Milliseconds until the next start may be broadcast. A clock that was put back must not make it longer. */
function msUntilBroadcast({ broadcastAt }: Entry, now: number): number {
  return now < broadcastAt ? 0 : Math.max(0, broadcastAt + BROADCAST_INTERVAL_MS - now)
}

function keyOf(roomId: string, participant: Participant): string {
  return `${sideKeyOf(roomId, participant)} ${participant.userId}`
}

function sideKeyOf(roomId: string, { side }: Pick<Participant, 'side'>): string {
  return `${roomId} ${side}`
}
