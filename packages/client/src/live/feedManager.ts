import type { Credential } from '../credential.ts'
import type { Browser } from './browser.ts'
import type { LogUpdate } from './logUpdate.ts'
import { SharedSource } from './sharedSource.ts'
import { keyOf, type StreamRequest } from './streamRequest.ts'
import { createLocalSource, type UpdateSource, type UpdateSourceOptions } from './updateSource.ts'

/** Receives the updates of a target. */
export interface Reader extends StreamRequest {
  handleUpdate(update: LogUpdate): void
  fail(error: unknown): void
}

/** The readers of one client, and the source that they share. */
export class FeedManager {
  readonly #url: string
  readonly #credential: Credential
  readonly #browser: Browser | undefined
  readonly #sendHeartbeat: (streamId: string) => void
  /** Each reader with the key of its target. */
  readonly #readers = new Map<Reader, string>()
  #source: UpdateSource | undefined
  #isSyncScheduled = false

  constructor(
    url: string,
    credential: Credential,
    browser: Browser | undefined,
    sendHeartbeat: (streamId: string) => void,
  ) {
    this.#sendHeartbeat = sendHeartbeat
    this.#url = url
    this.#credential = credential
    this.#browser = browser
    credential.onIdentityChange = () => {
      // Readers keep their places, which do not depend on the identity.
      this.#source?.close()
      this.#source = undefined
      this.scheduleSync()
    }
  }

  /** Determines the identity, which selects the source. @throws DowellChatError `NETWORK` if the token function fails */
  async prepare(): Promise<void> {
    await this.#credential.resolveIdentity()
  }

  add(reader: Reader): void {
    this.#readers.set(reader, keyOf(reader.target))
    this.scheduleSync()
  }

  remove(reader: Reader): void {
    if (this.#readers.delete(reader)) this.scheduleSync()
  }

  /** Syncs the source once after all changes of the current turn. Call it too when a reader has missed something. */
  scheduleSync(): void {
    if (this.#isSyncScheduled) return
    this.#isSyncScheduled = true
    queueMicrotask(() => {
      this.#isSyncScheduled = false
      if (this.#readers.size === 0) {
        this.#source?.close()
        this.#source = undefined
      } else {
        this.#source ??= this.#createSource()
        this.#source.sync()
      }
    })
  }

  #createSource(): UpdateSource {
    const { identity } = this.#credential
    const options: UpdateSourceOptions = {
      getRequests: () =>
        [...this.#readers.keys()].map(({ target, place, isNew }) => ({ target, place, isNew })),
      open: (path, signal) => {
        this.#credential.discardToken()
        return this.#credential.fetch(`${this.#url}${path}`, { signal, cache: 'no-store' })
      },
      sendHeartbeat: this.#sendHeartbeat,
      onUpdate: ({ keys, update }) => {
        for (const reader of this.#findReaders(keys)) reader.handleUpdate(update)
      },
      onFailure: (keys, error) => {
        for (const reader of this.#findReaders(keys)) reader.fail(error)
      },
    }
    if (identity === undefined || !this.#browser) return createLocalSource(options)
    return new SharedSource(this.#browser, `${this.#url} ${identity}`, options)
  }

  #findReaders(keys: readonly string[]): Reader[] {
    return [...this.#readers].flatMap(([reader, key]) => (keys.includes(key) ? reader : []))
  }
}
