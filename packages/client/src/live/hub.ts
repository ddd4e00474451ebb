import type { Credential } from '../credential.ts'
import type { Browser } from './browser.ts'
import { openOwnSource, SharedSource, type Source, type SourceOptions } from './source.ts'
import type { News } from './stream.ts'
import type { Message } from './streams.ts'
import { keyOf, type Wish } from './target.ts'

/** Who gets news about a target. */
export interface Reader extends Wish {
  take(news: News): void
  fail(error: unknown): void
}

/** The readers of one client, and the source that they share. */
export class Hub {
  readonly #url: string
  readonly #credential: Credential
  readonly #browser: Browser | undefined
  /** Readers, and the keys of their targets. */
  readonly #readers = new Map<Reader, string>()
  #source: Source | undefined
  #isAnnouncing = false

  constructor(url: string, credential: Credential, browser: Browser | undefined) {
    this.#url = url
    this.#credential = credential
    this.#browser = browser
    credential.onIdentity = () => {
      // Readers keep their places: what they have had does not depend on who they are.
      this.#source?.close()
      this.#source = undefined
      this.announce()
    }
  }

  /** @throws DowellChatError when there is no credential to be had now */
  async prepare(): Promise<void> {
    await this.#credential.identify()
  }

  add(reader: Reader): void {
    this.#readers.set(reader, keyOf(reader.target))
    this.announce()
  }

  remove(reader: Reader): void {
    if (this.#readers.delete(reader)) this.announce()
  }

  /** Tells the source that readers have come, gone or missed something: once for all that happens in one moment. */
  announce(): void {
    if (this.#isAnnouncing) return
    this.#isAnnouncing = true
    queueMicrotask(() => {
      this.#isAnnouncing = false
      if (this.#readers.size === 0) {
        this.#source?.close()
        this.#source = undefined
      } else {
        this.#source ??= this.#open()
        this.#source.announce()
      }
    })
  }

  #open(): Source {
    const { identity } = this.#credential
    const options: SourceOptions = {
      wishes: () =>
        [...this.#readers.keys()].map(({ target, place, isNew }) => ({ target, place, isNew })),
      open: (path, signal) => {
        this.#credential.renew()
        return this.#credential.fetch(`${this.#url}${path}`, { signal, cache: 'no-store' })
      },
      onMessage: ({ to, news }: Message) => {
        for (const reader of this.#of(to)) reader.take(news)
      },
      onFailure: (keys, error) => {
        for (const reader of this.#of(keys)) reader.fail(error)
      },
    }
    if (identity === undefined || !this.#browser) return openOwnSource(options)
    return new SharedSource(this.#browser, `dowell-chat ${this.#url} ${identity}`, options)
  }

  #of(keys: readonly string[]): Reader[] {
    return [...this.#readers].flatMap(([reader, key]) => (keys.includes(key) ? reader : []))
  }
}
