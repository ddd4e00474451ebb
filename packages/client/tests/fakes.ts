import { Credential, type CredentialOptions } from '../src/credential.ts'
import type { Browser } from '../src/live/browser.ts'
import { FeedManager } from '../src/live/feedManager.ts'
import { createFeeds, type Feeds } from '../src/live/feeds.ts'

export const ORG = 'DOWELL12345'

interface LogEntry {
  readonly position: number
  readonly roomId: string
}

interface Connection {
  readonly url: URL
  readonly authorization: string | null
  /** Sends text. */
  write(text: string): void
  /** Ends the response; with an error, as a broken connection. */
  cut(error?: Error): void
}

const time = '2026-01-02T03:04:05.678Z'

/** Time that a snapshot takes (ms). */
const SNAPSHOT_MS = 50

/** Event streams over an in-memory log. */
export class FakeServer {
  head = 0
  /** Positions up to here are pruned. */
  floor = 0
  /** Number of times the log lost events. */
  epoch = 0
  log: LogEntry[] = []
  readonly connections = new Set<Connection>()
  /** All requests so far. */
  readonly requests: URL[] = []
  /** Responses to the next requests, instead of a stream. */
  readonly refusals: (Response | Error)[] = []
  /** Splits sent text into chunks. */
  split: (text: string) => string[] = (text) => [text]

  append(roomId: string): void {
    const event = { position: ++this.head, roomId }
    this.log.push(event)
    for (const connection of this.connections) {
      if (isFor(connection.url, roomId)) connection.write(this.#toData(event))
    }
  }

  /** Sends the last three events again. */
  resendLatest(): void {
    for (const { url, write } of this.connections) {
      for (const event of this.log.slice(-3))
        if (isFor(url, event.roomId)) write(this.#toData(event))
    }
  }

  /** Makes all events so far unavailable. */
  prune(): void {
    this.floor = this.head
  }

  /** Loses the newest events and resets every stream, as after a failover. */
  loseLatest(count: number): void {
    this.head = Math.max(this.floor, this.head - count)
    this.log = this.log.filter(({ position }) => position <= this.head)
    this.epoch++
    this.sendAll(data({ type: 'reset', reason: 'unknown', ...this.place() }))
  }

  cutAll(error?: Error): void {
    for (const connection of this.connections) connection.cut(error)
  }

  sendAll(text: string): void {
    for (const connection of this.connections) connection.write(text)
  }

  readonly fetch: typeof fetch = async (input, init = {}) => {
    const url = new URL(String(input))
    const { signal } = init
    signal?.throwIfAborted()
    this.requests.push(url)
    const refusal = this.refusals.shift()
    if (refusal instanceof Error) throw refusal
    if (refusal) return refusal
    const encoder = new TextEncoder()
    let controller!: ReadableStreamDefaultController<Uint8Array>
    const body = new ReadableStream<Uint8Array>({
      start: (created) => {
        controller = created
      },
      cancel: () => void this.connections.delete(connection),
    })
    const connection: Connection = {
      url,
      authorization: new Headers(init.headers).get('Authorization'),
      write: (text) => {
        for (const chunk of this.split(text)) controller.enqueue(encoder.encode(chunk))
      },
      cut: (error) => {
        if (!this.connections.delete(connection)) return
        if (error) controller.error(error)
        else controller.close()
      },
    }
    this.connections.add(connection)
    signal?.addEventListener('abort', () => connection.cut(signal.reason))
    this.#open(connection)
    return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } })
  }

  #open({ url, write }: Connection): void {
    const after = url.searchParams.get('after')
    if (after !== null) {
      const [position = 0, epoch = 0] = after.slice(1).split('.').map(Number)
      const isUnknown = position > this.head || epoch !== this.epoch
      const reason = isUnknown ? 'unknown' : position < this.floor ? 'too_old' : undefined
      if (reason) write(data({ type: 'reset', reason, ...this.place() }))
      else {
        for (const event of this.log) {
          if (event.position > position && isFor(url, event.roomId)) write(this.#toData(event))
        }
      }
    }
    write(data({ type: 'ready', ...this.place() }))
  }

  place(): { position: number; cursor: string } {
    return this.#placeAt(this.head)
  }

  #placeAt(position: number): { position: number; cursor: string } {
    return { position, cursor: `c${position}.${this.epoch}` }
  }

  #toData({ position, roomId }: LogEntry): string {
    const message = { roomId, seq: position, createdAt: time, editedAt: null }
    const event = { type: 'message.created', ...this.#placeAt(position), orgId: ORG, roomId }
    return data({ ...event, createdAt: time, message })
  }
}

function isFor(url: URL, roomId: string): boolean {
  const rooms = url.searchParams.get('roomIds')?.split(',')
  return rooms === undefined || rooms.includes(roomId)
}

/** Creates an error response in the server's format. */
export function refusal(status: number, code: string, headers: Record<string, string> = {}) {
  const body = JSON.stringify({ code, message: 'No', requestId: 'request-1' })
  return new Response(body, { status, headers })
}

/** Formats an event as a frame of an event stream. */
export function data(event: object): string {
  return `data: ${JSON.stringify(event)}\n\n`
}

/** Creates a user token with the claims that the client reads. */
export function tokenOf(sub: string, rest: object = {}): string {
  const payload = JSON.stringify({ org: ORG, sub, side: false, ...rest })
  return `header.${Buffer.from(payload).toString('base64url')}.signature`
}

/** Creates the feeds of a client for the fake server. */
export function createFakeChat(
  server: FakeServer,
  { browser, ...options }: CredentialOptions & { browser?: Browser } = {},
): Feeds & { snapshots: number } {
  const credential = new Credential({
    fetch: server.fetch,
    token: () => tokenOf('ABCD12345'),
    ...options,
  })
  const manager = new FeedManager('http://chat.test', credential, browser, () => {})
  const chat = {
    snapshots: 0,
    ...createFeeds(manager, {
      // Only the fields that feeds read.
      getRoomSnapshot: async ({ roomId }: { roomId: string }) => {
        chat.snapshots++
        await credential.resolveIdentity()
        const snapshot = { room: { id: roomId, orgId: ORG }, ...server.place() }
        await new Promise((resolve) => setTimeout(resolve, SNAPSHOT_MS))
        return snapshot as never
      },
      getRoomById: async () => {
        await credential.resolveIdentity()
        return { orgId: ORG } as never
      },
    }),
  }
  return chat
}

/** A browser whose tabs share locks and channels, and can crash. */
export class FakeBrowser {
  readonly #channels = new Set<FakeChannel>()
  readonly #waiting: { name: string; tab: FakeTab; start: () => void }[] = []
  readonly #held = new Map<string, FakeTab>()

  openTab(server: FakeServer): FakeTab {
    return new FakeTab(this, server)
  }

  openChannel(tab: FakeTab, name: string): FakeChannel {
    const channel = new FakeChannel(tab, name, (from, message) => {
      const text = structuredClone(message)
      setTimeout(() => {
        for (const other of this.#channels) {
          if (other !== from && other.name === name) other.receive(text)
        }
      })
    })
    this.#channels.add(channel)
    return channel
  }

  request<T>(
    tab: FakeTab,
    name: string,
    { signal }: { signal: AbortSignal },
    hold: () => T,
  ): Promise<Awaited<T>> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted()
      const entry = {
        name,
        tab,
        start: () => {
          this.#held.set(name, tab)
          const held = Promise.resolve(hold())
          held.then(resolve, reject).finally(() => this.#release(name, tab))
        },
      }
      // A crashed tab gets no response.
      if (tab.isCrashed) return
      this.#waiting.push(entry)
      signal.addEventListener('abort', () => {
        const index = this.#waiting.indexOf(entry)
        if (index < 0) return
        this.#waiting.splice(index, 1)
        reject(signal.reason)
      })
      setTimeout(() => this.#grant())
    })
  }

  /** Releases the locks of a crashed tab. */
  releaseAll(tab: FakeTab): void {
    for (let i = this.#waiting.length - 1; i >= 0; i--) {
      if (this.#waiting[i]?.tab === tab) this.#waiting.splice(i, 1)
    }
    for (const [name, holder] of this.#held) if (holder === tab) this.#release(name, tab)
  }

  #release(name: string, tab: FakeTab): void {
    if (this.#held.get(name) === tab) this.#held.delete(name)
    setTimeout(() => this.#grant())
  }

  #grant(): void {
    for (const entry of [...this.#waiting]) {
      if (this.#held.has(entry.name) || !this.#waiting.includes(entry)) continue
      this.#waiting.splice(this.#waiting.indexOf(entry), 1)
      entry.start()
    }
  }
}

/** A tab; its connections end with it. */
export class FakeTab implements Browser {
  readonly #browser: FakeBrowser
  readonly server: FakeServer
  /** Receives no messages from other tabs. */
  isDisconnected = false
  isHidden = false
  /** Sends and receives no messages, as a background tab that the system froze. */
  isFrozen = false
  readonly #crashing = new AbortController()
  readonly locks: Browser['locks']

  constructor(browser: FakeBrowser, server: FakeServer) {
    this.#browser = browser
    this.server = server
    this.locks = { request: (name, options, hold) => browser.request(this, name, options, hold) }
  }

  get isCrashed(): boolean {
    return this.#crashing.signal.aborted
  }

  readonly fetch: typeof fetch = (input, init = {}) =>
    this.server.fetch(input, {
      ...init,
      signal: AbortSignal.any([this.#crashing.signal, ...(init.signal ? [init.signal] : [])]),
    })

  openChannel(name: string): FakeChannel {
    return this.#browser.openChannel(this, name)
  }

  isVisible(): boolean {
    return !this.isHidden
  }

  crash(): void {
    this.#crashing.abort()
    this.#browser.releaseAll(this)
  }
}

class FakeChannel {
  readonly name: string
  readonly #tab: FakeTab
  readonly #send: (from: FakeChannel, message: unknown) => void
  #isClosed = false
  onmessage: ((message: { data: unknown }) => void) | null = null

  constructor(tab: FakeTab, name: string, send: (from: FakeChannel, message: unknown) => void) {
    this.#tab = tab
    this.name = name
    this.#send = send
  }

  postMessage(message: unknown): void {
    if (!this.#isClosed && !this.#tab.isCrashed && !this.#tab.isFrozen) this.#send(this, message)
  }

  receive(data: unknown): void {
    const { isCrashed, isFrozen, isDisconnected } = this.#tab
    if (!this.#isClosed && !isCrashed && !isFrozen && !isDisconnected) this.onmessage?.({ data })
  }

  close(): void {
    this.#isClosed = true
  }
}
