import type { Browser } from './browser.ts'
import { type KeyedUpdate, StreamPool } from './streamPool.ts'
import type { StreamRequest } from './streamRequest.ts'
import type { UpdateSource, UpdateSourceOptions } from './updateSource.ts'

/** Prefix of channel and lock names. Change the version with {@link TabMessage}: tabs may run different deploys. */
const PROTOCOL = 'dowell-chat/2'

/** Messages between tabs. */
type TabMessage =
  /** All requests of a tab. */
  | {
      readonly type: 'requests'
      readonly tab: string
      /** Increases with each message of the tab. */
      readonly version: number
      readonly requests: readonly StreamRequest[]
    }
  /** The leader asks all tabs for their requests. */
  | { readonly type: 'leader-hello' }
  /** A tab asks whether the leader is awake; `version` is that of its last requests. */
  | { readonly type: 'leader-check'; readonly tab: string; readonly version: number }
  | { readonly type: 'leader-alive' }
  | { readonly type: 'update'; readonly update: KeyedUpdate }

/** Interval at which a visible tab checks the leader (ms). */
const LEADER_CHECK_MS = 5_000

/**
 * Shares the streams of one tab, the leader, with all tabs of the same name. The leader holds a lock. When it closes, the
 * lock passes to another tab, which asks all tabs for their requests and starts at the lowest place.
 *
 * Phones freeze background tabs while they hold locks. A visible tab then opens streams of its own until the leader answers
 * again. Readers drop updates that both deliver.
 */
export class SharedSource implements UpdateSource {
  readonly #name: string
  readonly #options: UpdateSourceOptions
  readonly #tab = crypto.randomUUID()
  readonly #channel: ReturnType<Browser['openChannel']>
  readonly #browser: Browser
  readonly #closing = new AbortController()
  /** Tabs that this leader serves, with the version of their last requests. */
  readonly #followers = new Map<string, number>()
  #streams: StreamPool | undefined
  #stopStreams = (): void => {}
  /** True while the other tabs can see this one's lock. */
  #hasTabLock = false
  #version = 0
  #isLeader = false
  #isLeaderAlive = true
  readonly #checkTimer: ReturnType<typeof setInterval>

  /** @param scope tabs of one scope share their streams */
  constructor(browser: Browser, scope: string, options: UpdateSourceOptions) {
    this.#name = `${PROTOCOL} ${scope}`
    this.#options = options
    this.#browser = browser
    this.#channel = browser.openChannel(this.#name)
    this.#channel.onmessage = ({ data }) => this.#handleMessage(data as TabMessage)
    this.#checkTimer = setInterval(() => this.#checkLeader(), LEADER_CHECK_MS)
    this.#joinElection()
  }

  sync(): void {
    // Without its lock the leader would take this tab for closed.
    if (!this.#hasTabLock && !this.#streams) return
    const requests = this.#options.getRequests()
    this.#streams?.setRequests(this.#tab, requests)
    this.#post({ type: 'requests', tab: this.#tab, version: ++this.#version, requests })
  }

  close(): void {
    this.#closing.abort()
    this.#stopStreams()
    clearInterval(this.#checkTimer)
    this.#channel.close()
  }

  async #joinElection(): Promise<void> {
    const { signal } = this.#closing
    const { locks } = this.#browser
    try {
      // The lock shows that the tab is open. The browser releases it even if the tab crashes.
      await locks.request(this.#tabLock(this.#tab), { signal }, async () => {
        this.#hasTabLock = true
        this.sync()
        for (;;) await locks.request(this.#name, { signal }, () => this.#becomeLeader())
      })
    } catch {
      // Pages without an origin, such as sandboxed frames, have no locks, and no other tabs.
      while (!signal.aborted) await this.#runStreams()
    }
  }

  async #becomeLeader(): Promise<void> {
    this.#stopStreams()
    this.#isLeader = true
    await this.#runStreams()
    this.#isLeader = false
  }

  /** Opens streams for all tabs, and resolves when they are stopped. */
  #runStreams(): Promise<void> {
    return new Promise((resolve) => {
      const streams = new StreamPool({
        open: this.#options.open,
        sendHeartbeat: this.#options.sendHeartbeat,
        onUpdate: (update) => {
          this.#post({ type: 'update', update })
          this.#options.onUpdate(update)
        },
        onFailure: (keys, error) => {
          // Give up the lead: another tab may have a better credential.
          this.#stopStreams()
          this.#options.onFailure(keys, error)
        },
      })
      this.#stopStreams = () => {
        streams.close()
        if (this.#streams === streams) this.#streams = undefined
        resolve()
      }
      this.#streams = streams
      streams.setRequests(this.#tab, this.#options.getRequests())
      this.#post({ type: 'leader-hello' })
    })
  }

  /** Asks the leader for a sign of life, and opens own streams if the previous check got none. */
  #checkLeader(): void {
    if (this.#isLeader || !this.#hasTabLock || !this.#browser.isVisible()) {
      this.#isLeaderAlive = true
      return
    }
    if (!this.#isLeaderAlive && !this.#streams) this.#runStreams()
    this.#isLeaderAlive = false
    this.#post({ type: 'leader-check', tab: this.#tab, version: this.#version })
  }

  #handleMessage(message: TabMessage): void {
    switch (message.type) {
      case 'update':
        this.#options.onUpdate(message.update)
        break
      case 'leader-hello':
        this.sync()
        break
      case 'requests':
        if (!this.#streams) break
        this.#streams.setRequests(message.tab, message.requests)
        this.#watch(message.tab)
        this.#followers.set(message.tab, message.version)
        break
      case 'leader-check':
        if (!this.#isLeader) break
        this.#post({ type: 'leader-alive' })
        // A frozen tab loses messages, so either side may have missed the other's.
        if (this.#followers.get(message.tab) !== message.version) {
          this.#post({ type: 'leader-hello' })
        }
        this.#streams?.resendPositions()
        break
      case 'leader-alive':
        this.#isLeaderAlive = true
        if (this.#isLeader || !this.#streams) break
        this.#stopStreams()
        this.sync()
    }
  }

  /** Drops the requests of a tab when it closes. */
  #watch(tab: string): void {
    if (this.#followers.has(tab)) return
    const { signal } = this.#closing
    this.#browser.locks
      .request(this.#tabLock(tab), { signal }, () => {
        this.#followers.delete(tab)
        this.#streams?.setRequests(tab, [])
      })
      .catch(() => undefined)
  }

  #post(message: TabMessage): void {
    if (!this.#closing.signal.aborted) this.#channel.postMessage(message)
  }

  #tabLock(tab: string): string {
    return `${this.#name} ${tab}`
  }
}
