import { type Database, eventLogHeads } from '@dowell-chat/db'
import { type Actor, actorKey, isCustomer } from '../../auth/actor.ts'
import type { FindRevoked } from '../../auth/revocationCheck.ts'
import { CLOCK_LEEWAY_SECONDS } from '../../auth/signingKeys.ts'
import { AppError } from '../../operation/errors.ts'
import type { EndReason, EphemeralEvent, StreamEvent } from '../schema.ts'
import { DeclaredPresence, HEARTBEAT_TTL_MS, StreamPresence } from './declaredPresence.ts'
import { EventStream, type PayForReplay } from './eventStream.ts'
import { type HiddenFromCustomers, LOG_UNREADABLE, type OnLogError, OrgTail } from './orgTail.ts'
import { SharedPresence } from './sharedPresence.ts'
import { OpenStreams, type StreamCaps } from './streamCaps.ts'
import type { RoomRef, StreamFilter } from './streamFilter.ts'
import { defaultStreamLimits, type StreamLimits } from './streamLimits.ts'
import { Typing } from './typing.ts'

export interface LiveOptions {
  /** Milliseconds since the Unix epoch. */
  readonly clock: () => number
  /** Re-checks the credentials of the callers with open streams. */
  readonly findRevoked: FindRevoked
  readonly hiddenFromCustomers: HiddenFromCustomers
  /** Called when the log cannot be read (streams wait and retry), and when it went back. */
  readonly onError: OnLogError
  readonly caps: StreamCaps
  /** Greatest age of a stream, in milliseconds. Reconnecting readers spread over the instances. */
  readonly lifetime: number
  readonly limits?: StreamLimits
}

export interface OpenOptions {
  /** The cursor to begin after; without it the stream begins with the next event. */
  readonly after?: string | undefined
  /** The side that is present in the filter's rooms while the stream is open; undefined: no presence. */
  readonly side?: boolean | undefined
  /** Names the stream, whose presence then ends without heartbeats; undefined: it ends with the stream. */
  readonly streamId?: string | undefined
  /** The caller's network, for the cap by address. */
  readonly address?: string | undefined
  /** Undefined: replays consume no quota. */
  readonly payForReplay?: PayForReplay | undefined
}

/** Between instances: the key of a stream whose reader is alive. */
const HEARTBEAT_TOPIC = 'stream-heartbeat'

const SWEEP_INTERVAL_MS = 1_000

/** How long an ended stream waits for its reader to take the rest. */
const ENDED_STREAM_TTL_MS = 30_000

/**
 * The event streams of this process. For each organisation with a stream, one tail follows the log, and all streams share
 * each event object. A commit only wakes the tail; the table is the source. Commits of other processes are found by the
 * sweep at the latest.
 */
export class Live {
  readonly typing: Typing
  readonly #db: Database
  readonly #options: LiveOptions
  readonly #tails = new Map<string, OrgTail>()
  readonly #streams = new Map<EventStream, { actor: Actor; endsAt: number; expires: boolean }>()
  readonly #openStreams: OpenStreams
  readonly #limits: StreamLimits
  readonly #presence: SharedPresence
  readonly #declared = new DeclaredPresence()
  readonly #stopListening: () => void
  readonly #sweepTimer: NodeJS.Timeout
  #isSweeping = false
  #closing: EndReason | undefined

  constructor(db: Database, options: LiveOptions) {
    this.#db = db
    this.#options = options
    this.#limits = options.limits ?? defaultStreamLimits
    this.#openStreams = new OpenStreams(options.caps)
    this.#presence = new SharedPresence(db.peers, (room, state) =>
      this.publish({ type: 'presence', orgId: room.orgId, roomId: room.id, ...state }, room),
    )
    this.typing = new Typing(options.clock, db.peers, (event, room) => this.publish(event, room))
    const wake = (orgIds: Iterable<string>) => {
      for (const orgId of orgIds) this.#tails.get(orgId)?.wake()
    }
    // Notifications sent while this instance was disconnected are lost, so read everything after a reconnect.
    const stops = [
      db.onEvents(wake),
      db.peers?.onJoin(() => wake(this.#tails.keys())),
      db.peers?.on(HEARTBEAT_TOPIC, (key) => {
        this.#declared.confirm(String(key), options.clock())
      }),
    ]
    this.#stopListening = () => {
      for (const stop of stops) stop?.()
    }
    this.#sweepTimer = setInterval(() => {
      this.#declared.expire(options.clock())
      this.#sweep()
    }, SWEEP_INTERVAL_MS).unref()
  }

  /** The number of open streams. */
  get size(): number {
    return this.#streams.size
  }

  /**
   * Opens a stream for a caller who is authorised for every event that the filter matches.
   *
   * @throws AppError TOO_MANY_REQUESTS or SERVICE_UNAVAILABLE when a cap is reached; SERVICE_UNAVAILABLE after `end`
   */
  open(actor: Actor, filter: StreamFilter, options: OpenOptions = {}): EventStream {
    const { after, side, streamId, address, payForReplay } = options
    const { clock, lifetime, hiddenFromCustomers } = this.#options
    if (this.#closing) {
      throw new AppError('SERVICE_UNAVAILABLE', {
        message: 'The server is shutting down',
        retryAfter: 1,
      })
    }
    const freeSlot = this.#openStreams.take({ actor, address, orgId: filter.orgId })
    const tail = this.#getOrCreateTail(filter.orgId)
    const presence =
      side !== undefined && filter.rooms && new StreamPresence(this.#presence, filter.rooms, side)
    let removeDeclared = () => {}
    const stream = new EventStream(this.#db, tail, filter, {
      limits: this.#limits,
      isCustomer: isCustomer(actor),
      hiddenFromCustomers,
      after,
      payForReplay,
      onStart: () => {
        if (!presence) return
        presence.enter(clock())
        if (streamId === undefined) return
        removeDeclared = this.#declared.add(streamKey(actor, streamId), presence)
      },
      onReady: () => (filter.rooms ?? []).map((room) => this.#presenceEvent(room)),
      onLeave: () => {
        this.#streams.delete(stream)
        freeSlot()
        if (tail.release()) this.#tails.delete(filter.orgId)
        removeDeclared()
        if (presence) presence.leave()
      },
    })
    tail.retain()
    // Spread by 10 %, so that streams opened together after a restart do not all end together.
    const lifetimeEndsAt = clock() + lifetime * (0.9 + 0.1 * Math.random())
    // As long as the token opens streams: otherwise one that reconnects would end at once, again and again.
    const expiresAt =
      actor.kind === 'user'
        ? actor.expiresAt + CLOCK_LEEWAY_SECONDS * 1000
        : Number.POSITIVE_INFINITY
    this.#streams.set(stream, {
      actor,
      endsAt: Math.min(lifetimeEndsAt, expiresAt),
      expires: expiresAt <= lifetimeEndsAt,
    })
    return stream
  }

  /**
   * Notes that the reader of a stream is alive, at whatever instance the stream is.
   *
   * @returns when it counts as absent without another call, in milliseconds since the Unix epoch
   */
  confirm(actor: Actor, streamId: string): number {
    const now = this.#options.clock()
    const key = streamKey(actor, streamId)
    if (!this.#declared.confirm(key, now)) this.#db.peers?.send(HEARTBEAT_TOPIC, key)
    return now + HEARTBEAT_TTL_MS
  }

  /** Sends an event to the streams of this process. It is not stored. */
  publish(event: EphemeralEvent, room: RoomRef): void {
    this.#tails.get(room.orgId)?.deliver(event, room)
  }

  /** Ends all streams and refuses new ones. */
  end(reason: EndReason): void {
    this.#closing = reason
    for (const stream of this.#streams.keys()) stream.end(reason)
  }

  /** Drops all streams, with what still waits in them, and stops all timers. */
  close(): void {
    this.end('shutdown')
    for (const stream of [...this.#streams.keys()]) stream.leave()
    clearInterval(this.#sweepTimer)
    this.#stopListening()
    this.#presence.close()
    this.typing.close()
  }

  #presenceEvent(room: RoomRef): StreamEvent {
    const state = this.#presence.stateOf(room.id)
    return { type: 'presence', orgId: room.orgId, roomId: room.id, ...state }
  }

  #getOrCreateTail(orgId: string): OrgTail {
    let tail = this.#tails.get(orgId)
    if (!tail) {
      const { onError, hiddenFromCustomers } = this.#options
      tail = new OrgTail(this.#db, orgId, this.#limits.page, onError, hiddenFromCustomers)
      this.#tails.set(orgId, tail)
    }
    return tail
  }

  /** Ends overdue and revoked streams, and wakes the tails whose log has grown. */
  async #sweep(): Promise<void> {
    if (this.#isSweeping || this.#streams.size === 0) return
    this.#isSweeping = true
    try {
      this.#endOverdue()
      const marks = new Map([...this.#tails].map(([orgId, tail]) => [orgId, tail.mark()]))
      for (const end of await eventLogHeads(this.#db.read, [...marks.keys()])) {
        const tail = this.#tails.get(end.orgId)
        const since = marks.get(end.orgId)
        if (tail && since && tail.checkEnd(end, since)) tail.wake(end.head)
      }
      await this.#endRevoked()
    } catch (error) {
      this.#options.onError(error, LOG_UNREADABLE)
    } finally {
      this.#isSweeping = false
    }
  }

  #endOverdue(): void {
    const now = this.#options.clock()
    for (const [stream, { endsAt, expires }] of this.#streams) {
      if (now >= endsAt) stream.end(expires ? 'expired' : 'lifetime')
      if (now >= endsAt + ENDED_STREAM_TTL_MS) stream.leave()
    }
  }

  async #endRevoked(): Promise<void> {
    const revoked = await this.#options.findRevoked(
      [...this.#streams.values()].map(({ actor }) => actor),
    )
    if (revoked.size === 0) return
    for (const [stream, { actor }] of this.#streams) if (revoked.has(actor)) stream.end('revoked')
  }
}

/** Another caller's stream id is another key, so nobody keeps up the presence of others. */
function streamKey(actor: Actor, streamId: string): string {
  return `${streamId} ${actorKey(actor)}`
}
