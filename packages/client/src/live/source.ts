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
  | { readonly type: 'wishes'; readonly tab: string; readonly wishes: readonly Wish[] }
  | { readonly type: 'who' }
  | { readonly type: 'message'; readonly message: Message }

/**
 * One set of streams for all tabs that have a name in common. A lock says which tab has it; when that tab goes, the lock
 * passes to another, which asks all tabs what they wish and begins with what the one furthest behind has not had.
 */
export class SharedSource implements Source {
  readonly #name: string
  readonly #options: SourceOptions
  readonly #tab = crypto.randomUUID()
  readonly #channel: ReturnType<Browser['openChannel']>
  readonly #locks: Browser['locks']
  readonly #closing = new AbortController()
  /** The other tabs that the streams are for as well. */
  readonly #others = new Set<string>()
  #streams: Streams | undefined
  #isPresent = false

  constructor(browser: Browser, name: string, options: SourceOptions) {
    this.#name = name
    this.#options = options
    this.#locks = browser.locks
    this.#channel = browser.openChannel(name)
    this.#channel.onmessage = ({ data }) => this.#hear(data as Post)
    this.#takePart()
  }

  announce(): void {
    // Before that the others would take it for gone.
    if (!this.#isPresent && !this.#streams) return
    const wishes = this.#options.wishes()
    this.#streams?.announce(this.#tab, wishes)
    this.#post({ type: 'wishes', tab: this.#tab, wishes })
  }

  close(): void {
    this.#closing.abort()
    this.#channel.close()
  }

  async #takePart(): Promise<void> {
    const { signal } = this.#closing
    const lead = () => this.#lead()
    try {
      // Others see by this lock that the tab is there: even one that crashes gives it back.
      await this.#locks.request(this.#lockOf(this.#tab), { signal }, async () => {
        this.#isPresent = true
        this.announce()
        for (;;) await this.#locks.request(this.#name, { signal }, lead)
      })
    } catch {
      // Pages without an origin, such as sandboxed frames, have no locks, and no other tabs.
      while (!signal.aborted) await lead()
    }
  }

  /** Has the streams, until the tab closes or finds that it cannot have them. */
  #lead(): Promise<void> {
    return new Promise((resolve) => {
      const { signal } = this.#closing
      const stop = () => {
        signal.removeEventListener('abort', stop)
        streams.close()
        this.#streams = undefined
        resolve()
      }
      const streams = new Streams({
        open: this.#options.open,
        onMessage: (message) => {
          this.#post({ type: 'message', message })
          this.#options.onMessage(message)
        },
        onFailure: (keys, error) => {
          // Perhaps another tab has a better credential.
          stop()
          this.#options.onFailure(keys, error)
        },
      })
      signal.addEventListener('abort', stop)
      this.#streams = streams
      streams.announce(this.#tab, this.#options.wishes())
      this.#post({ type: 'who' })
    })
  }

  #hear(post: Post): void {
    if (post.type === 'message') this.#options.onMessage(post.message)
    else if (post.type === 'who') this.announce()
    else if (this.#streams) {
      this.#streams.announce(post.tab, post.wishes)
      this.#watch(post.tab)
    }
  }

  /** Forgets the wishes of a tab when it is gone. */
  #watch(tab: string): void {
    if (this.#others.has(tab)) return
    this.#others.add(tab)
    const { signal } = this.#closing
    this.#locks
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
