import type { Browser } from './browser.ts'
import { type Message, Streams, type StreamsOptions } from './streams.ts'
import type { Wish } from './target.ts'

/** Where the readers of one tab get their events from. */
export interface Source {
  /** The readers have changed, or one has missed something. */
  announce(): void
  close(): void
}

export interface SourceOptions extends StreamsOptions {
  /** What the readers of this tab wish now. */
  readonly wishes: () => readonly Wish[]
}

/** Streams for this tab alone. */
export function openOwnSource({ wishes, ...options }: SourceOptions): Source {
  const streams = new Streams(options)
  return { announce: () => streams.announce('', wishes()), close: () => streams.close() }
}

type Post =
  | {
      readonly type: 'wishes'
      readonly tab: string
      /** Which announcement of the tab's it is. */
      readonly count: number
      readonly wishes: readonly Wish[]
    }
  | { readonly type: 'ping'; readonly tab: string; readonly count: number }
  | { readonly type: 'who' | 'pong' }
  | { readonly type: 'message'; readonly message: Message }

/** How often a tab asks whether the one that has the streams is awake, in milliseconds. */
const CHECK = 5_000

/**
 * One set of streams for all tabs that have a name in common. A lock says which tab has it; when that tab goes, the lock
 * passes to another, which asks all tabs what they wish and begins with what the one furthest behind has not had.
 *
 * Phones put a tab in the background to sleep, lock and all. A tab that somebody looks at then has streams of its own until
 * the other wakes. It does no harm that two tell the same: what a reader has had it does not take again.
 */
export class SharedSource implements Source {
  readonly #name: string
  readonly #options: SourceOptions
  readonly #tab = crypto.randomUUID()
  readonly #channel: ReturnType<Browser['openChannel']>
  readonly #browser: Browser
  readonly #closing = new AbortController()
  /** The other tabs that the streams are for as well, and the last announcement of each. */
  readonly #others = new Map<string, number>()
  #streams: Streams | undefined
  #stopLeading = (): void => {}
  #isPresent = false
  #count = 0
  #hasLock = false
  #isAnswered = true
  readonly #checking: ReturnType<typeof setInterval>

  constructor(browser: Browser, name: string, options: SourceOptions) {
    this.#name = name
    this.#options = options
    this.#browser = browser
    this.#channel = browser.openChannel(name)
    this.#channel.onmessage = ({ data }) => this.#hear(data as Post)
    this.#checking = setInterval(() => this.#check(), CHECK)
    this.#takePart()
  }

  announce(): void {
    // Before that the others would take it for gone.
    if (!this.#isPresent && !this.#streams) return
    const wishes = this.#options.wishes()
    this.#streams?.announce(this.#tab, wishes)
    this.#post({ type: 'wishes', tab: this.#tab, count: ++this.#count, wishes })
  }

  close(): void {
    this.#closing.abort()
    this.#stopLeading()
    clearInterval(this.#checking)
    this.#channel.close()
  }

  async #takePart(): Promise<void> {
    const { signal } = this.#closing
    const { locks } = this.#browser
    try {
      // Others see by this lock that the tab is there: even one that crashes gives it back.
      await locks.request(this.#lockOf(this.#tab), { signal }, async () => {
        this.#isPresent = true
        this.announce()
        for (;;) await locks.request(this.#name, { signal }, () => this.#leadWithLock())
      })
    } catch {
      // Pages without an origin, such as sandboxed frames, have no locks, and no other tabs.
      while (!signal.aborted) await this.#lead()
    }
  }

  async #leadWithLock(): Promise<void> {
    this.#stopLeading()
    this.#hasLock = true
    await this.#lead()
    this.#hasLock = false
  }

  /** Has the streams, until it is told to stop or finds that it cannot have them. */
  #lead(): Promise<void> {
    return new Promise((resolve) => {
      const streams = new Streams({
        open: this.#options.open,
        onMessage: (message) => {
          this.#post({ type: 'message', message })
          this.#options.onMessage(message)
        },
        onFailure: (keys, error) => {
          // Perhaps another tab has a better credential.
          this.#stopLeading()
          this.#options.onFailure(keys, error)
        },
      })
      this.#stopLeading = () => {
        streams.close()
        if (this.#streams === streams) this.#streams = undefined
        resolve()
      }
      this.#streams = streams
      streams.announce(this.#tab, this.#options.wishes())
      this.#post({ type: 'who' })
    })
  }

  /** Asks whether the tab that has the lock is awake, and does without it when it did not answer the last time. */
  #check(): void {
    if (this.#hasLock || !this.#isPresent || !this.#browser.isVisible()) {
      this.#isAnswered = true
      return
    }
    if (!this.#isAnswered && !this.#streams) this.#lead()
    this.#isAnswered = false
    this.#post({ type: 'ping', tab: this.#tab, count: this.#count })
  }

  #hear(post: Post): void {
    switch (post.type) {
      case 'message':
        this.#options.onMessage(post.message)
        break
      case 'who':
        this.announce()
        break
      case 'wishes':
        if (!this.#streams) break
        this.#streams.announce(post.tab, post.wishes)
        this.#watch(post.tab)
        this.#others.set(post.tab, post.count)
        break
      case 'ping':
        if (!this.#hasLock) break
        this.#post({ type: 'pong' })
        // Either of the two may have slept through what the other said.
        if (this.#others.get(post.tab) !== post.count) this.#post({ type: 'who' })
        this.#streams?.remind()
        break
      case 'pong':
        this.#isAnswered = true
        if (this.#hasLock || !this.#streams) break
        this.#stopLeading()
        this.announce()
    }
  }

  /** Forgets the wishes of a tab when it is gone. */
  #watch(tab: string): void {
    if (this.#others.has(tab)) return
    const { signal } = this.#closing
    this.#browser.locks
      .request(this.#lockOf(tab), { signal }, () => {
        this.#others.delete(tab)
        this.#streams?.announce(tab, [])
      })
      .catch(() => undefined)
  }

  #post(post: Post): void {
    if (!this.#closing.signal.aborted) this.#channel.postMessage(post)
  }

  #lockOf(tab: string): string {
    return `${this.#name} ${tab}`
  }
}
