import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * The other processes on the same database, and this one's words to them. What is said is kept nowhere: whoever is not
 * connected at that moment misses it.
 */
export interface Peers {
  /** Names this process among them, until it ends. */
  readonly self: string
  /** Connects, and stays connected until the database is closed. Resolves after the first attempt, however that ends. */
  join(): Promise<void>
  /**
   * Says something to all who have joined; what one process says arrives in order. Nothing happens while this one is not
   * connected.
   *
   * @param body what JSON keeps as it is
   */
  send(topic: string, body: unknown): void
  /** Hears what others say on a topic. @returns what ends that */
  on(topic: string, listener: (body: unknown, from: string) => void): () => void
  /** Calls `listener` whenever this process is connected, also anew: it may have missed something. @returns what ends that */
  onJoin(listener: () => void): () => void
}

/** A connection on which every process hears what one sends. */
export interface Line {
  /** Texts of at most {@link MAX_NOTICE} ASCII characters, in this order. */
  send(notices: readonly string[]): Promise<void>
  /** Resolves when it is of no use any more. */
  readonly lost: Promise<void>
  end(): Promise<void>
}

export type OpenLine = (onNotice: (notice: string) => void) => Promise<Line>

/** PostgreSQL takes less than 8,000 bytes. */
const MAX_NOTICE = 7_900

/** Longest head of a notice. */
const MAX_HEAD = 60

/** Messages that may wait for the connection. With more of them it is as good as lost. */
const MAX_WAITING = 10_000

/** The shortest and the longest time before another attempt to connect, in milliseconds. */
const BACK_OFF = { min: 100, max: 5_000 }

/**
 * Peers by one connection, on which this process speaks and hears. A message that is too long for one notice goes in several:
 * each says whose it is, the number of the message, and which of how many pieces it has.
 */
export class Channel implements Peers {
  readonly self = randomBytes(9).toString('base64url')
  readonly #open: OpenLine
  readonly #listeners = new Map<string, Set<(body: unknown, from: string) => void>>()
  readonly #joinListeners = new Set<() => void>()
  readonly #attempted = Promise.withResolvers<void>()
  readonly #closing = new AbortController()
  /** The pieces of the message that each process is about to say. */
  readonly #pieces = new Map<string, string[]>()
  #line: Line | undefined
  #waiting: string[] = []
  #sending: Promise<void> | undefined
  #running: Promise<void> | undefined
  #count = 0

  constructor(open: OpenLine) {
    this.#open = open
  }

  join(): Promise<void> {
    this.#running ??= this.#run()
    return this.#attempted.promise
  }

  send(topic: string, body: unknown): void {
    if (!this.#line) return
    if (this.#waiting.length >= MAX_WAITING) void this.#drop(this.#line)
    else {
      this.#waiting.push(JSON.stringify([topic, body]))
      this.#sending ??= this.#sendAll(this.#line)
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

  /** Says what waits, and hears nothing more. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#sending
    await this.#line?.end().catch(() => undefined)
    await this.#running
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing
    for (let wait = BACK_OFF.min; !signal.aborted; wait = Math.min(2 * wait, BACK_OFF.max)) {
      const line = await this.#open((notice) => this.#hear(notice)).catch(() => undefined)
      if (line && signal.aborted) await line.end().catch(() => undefined)
      else if (line) {
        this.#line = line
        wait = BACK_OFF.min
        for (const listener of this.#joinListeners) attempt(listener)
        this.#attempted.resolve()
        await line.lost
        this.#line = undefined
        await this.#sending
        this.#waiting = []
        this.#pieces.clear()
      }
      this.#attempted.resolve()
      // Not all at once, when the server is back.
      await sleep(wait * (0.5 + Math.random()), undefined, { signal }).catch(() => undefined)
    }
  }

  async #sendAll(line: Line): Promise<void> {
    try {
      while (this.#waiting.length > 0 && this.#line === line) {
        await line.send(this.#waiting.splice(0).flatMap((text) => this.#noticesOf(text)))
      }
    } catch {
      await this.#drop(line)
    } finally {
      this.#sending = undefined
    }
  }

  async #drop(line: Line): Promise<void> {
    this.#waiting = []
    await line.end().catch(() => undefined)
  }

  #noticesOf(text: string): string[] {
    // A character is a byte then.
    const ascii = text.replace(
      /[^\0-~]/g,
      (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
    )
    const size = MAX_NOTICE - MAX_HEAD
    const count = Math.ceil(ascii.length / size)
    this.#count++
    return Array.from({ length: count }, (_, index) => {
      const piece = ascii.slice(index * size, (index + 1) * size)
      return `${this.self} ${this.#count} ${index}/${count} ${piece}`
    })
  }

  #hear(notice: string): void {
    const [, from, index, count, piece] = /^(\S+) \d+ (\d+)\/(\d+) (.*)$/s.exec(notice) ?? []
    if (from === undefined || from === this.self || piece === undefined) return
    const pieces = index === '0' ? [] : this.#pieces.get(from)
    // It began before this process listened.
    if (pieces?.length !== Number(index)) return
    pieces.push(piece)
    if (pieces.length < Number(count)) {
      this.#pieces.set(from, pieces)
      return
    }
    this.#pieces.delete(from)
    attempt(() => {
      const [topic, body] = JSON.parse(pieces.join('')) as [string, unknown]
      for (const listener of this.#listeners.get(topic) ?? []) listener(body, from)
    })
  }
}

/** What another process says must not end this one, whatever version it is of. */
function attempt(listen: () => void): void {
  try {
    listen()
  } catch (error) {
    process.emitWarning(
      new Error('a message of another instance was not understood', { cause: error }),
    )
  }
}
