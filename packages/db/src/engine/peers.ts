import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'

/** Sends messages between the processes on one database. Messages are not stored: a process that is not connected misses them. */
export interface Peers {
  /** The id of this process. */
  readonly self: string
  /** Connects, and reconnects until the database is closed. Resolves after the first attempt, also if it fails. */
  join(): Promise<void>
  /**
   * Sends a JSON value to all joined processes. The messages of one process arrive in order. Does nothing while this process
   * is not connected.
   */
  send(topic: string, body: unknown): void
  /** Calls `listener` with the messages of the others. @returns a function that unsubscribes */
  on(topic: string, listener: (body: unknown, from: string) => void): () => void
  /** Calls `listener` after each connect, since messages may have been missed. @returns a function that unsubscribes */
  onJoin(listener: () => void): () => void
}

/** A connection on which every process receives what one sends. */
export interface NotificationConnection {
  /** Sends payloads of at most {@link MAX_PAYLOAD_BYTES} ASCII characters, in order. */
  send(payloads: readonly string[]): Promise<void>
  /** Resolves when the connection is lost. */
  readonly lost: Promise<void>
  end(): Promise<void>
}

export type Listen = (onMessage: (payload: string) => void) => Promise<NotificationConnection>

/** PostgreSQL accepts less than 8,000 bytes. */
const MAX_PAYLOAD_BYTES = 7_900

/** Maximum length of a payload's header. */
const MAX_HEADER_BYTES = 60

/** Maximum messages that wait to be sent. With more, the connection is dropped. */
const MAX_WAITING = 10_000

/** The delay before another attempt to connect (ms). */
const BACKOFF_MS = { min: 100, max: 5_000 }

/**
 * Peers on one connection that sends and receives. A message too long for one payload is split; the header of each part has
 * the sender, the number of the message, the index of the part and their count.
 */
export class Channel implements Peers {
  readonly self = randomBytes(9).toString('base64url')
  readonly #listen: Listen
  readonly #listeners = new Map<string, Set<(body: unknown, from: string) => void>>()
  readonly #joinListeners = new Set<() => void>()
  readonly #attempted = Promise.withResolvers<void>()
  readonly #closing = new AbortController()
  /** The parts received so far of each sender's current message. */
  readonly #parts = new Map<string, string[]>()
  #connection: NotificationConnection | undefined
  #waiting: string[] = []
  #sending: Promise<void> | undefined
  #running: Promise<void> | undefined
  #count = 0

  constructor(listen: Listen) {
    this.#listen = listen
  }

  join(): Promise<void> {
    this.#running ??= this.#run()
    return this.#attempted.promise
  }

  send(topic: string, body: unknown): void {
    if (!this.#connection) return
    if (this.#waiting.length >= MAX_WAITING) void this.#drop(this.#connection)
    else {
      this.#waiting.push(JSON.stringify([topic, body]))
      this.#sending ??= this.#sendAll(this.#connection)
    }
  }

  on(topic: string, listener: (body: unknown, from: string) => void): () => void {
    const listeners = this.#listeners.get(topic) ?? new Set()
    this.#listeners.set(topic, listeners.add(listener))
    return () => listeners.delete(listener)
  }

  onJoin(listener: () => void): () => void {
    this.#joinListeners.add(listener)
    return () => this.#joinListeners.delete(listener)
  }

  /** Sends what waits, then disconnects. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#sending
    await this.#connection?.end().catch(() => undefined)
    await this.#running
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing
    for (let wait = BACKOFF_MS.min; !signal.aborted; wait = Math.min(2 * wait, BACKOFF_MS.max)) {
      const connection = await this.#listen((payload) => this.#receive(payload)).catch(
        () => undefined,
      )
      if (connection && signal.aborted) await connection.end().catch(() => undefined)
      else if (connection) {
        this.#connection = connection
        wait = BACKOFF_MS.min
        for (const listener of this.#joinListeners) attempt(listener)
        this.#attempted.resolve()
        await connection.lost
        this.#connection = undefined
        await this.#sending
        this.#waiting = []
        this.#parts.clear()
      }
      this.#attempted.resolve()
      // Jitter: do not all reconnect at once when the server is back.
      await sleep(wait * (0.5 + Math.random()), undefined, { signal }).catch(() => undefined)
    }
  }

  async #sendAll(connection: NotificationConnection): Promise<void> {
    try {
      while (this.#waiting.length > 0 && this.#connection === connection) {
        await connection.send(this.#waiting.splice(0).flatMap((text) => this.#payloadsOf(text)))
      }
    } catch {
      await this.#drop(connection)
    } finally {
      this.#sending = undefined
    }
  }

  async #drop(connection: NotificationConnection): Promise<void> {
    this.#waiting = []
    await connection.end().catch(() => undefined)
  }

  #payloadsOf(text: string): string[] {
    // Escape to ASCII, so that a character is a byte.
    const ascii = text.replace(
      /[^\0-~]/g,
      (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
    )
    const size = MAX_PAYLOAD_BYTES - MAX_HEADER_BYTES
    const count = Math.ceil(ascii.length / size)
    this.#count++
    return Array.from({ length: count }, (_, index) => {
      const part = ascii.slice(index * size, (index + 1) * size)
      return `${this.self} ${this.#count} ${index}/${count} ${part}`
    })
  }

  #receive(payload: string): void {
    const [, from, index, count, part] = /^(\S+) \d+ (\d+)\/(\d+) (.*)$/s.exec(payload) ?? []
    if (from === undefined || from === this.self || part === undefined) return
    const parts = index === '0' ? [] : this.#parts.get(from)
    // This process began to listen in the middle of the message.
    if (parts?.length !== Number(index)) return
    parts.push(part)
    if (parts.length < Number(count)) {
      this.#parts.set(from, parts)
      return
    }
    this.#parts.delete(from)
    attempt(() => {
      const [topic, body] = JSON.parse(parts.join('')) as [string, unknown]
      for (const listener of this.#listeners.get(topic) ?? []) listener(body, from)
    })
  }
}

/** A message of another version must not end this process. */
function attempt(listen: () => void): void {
  try {
    listen()
  } catch (error) {
    process.emitWarning(
      new Error('a message of another instance was not understood', { cause: error }),
    )
  }
}
