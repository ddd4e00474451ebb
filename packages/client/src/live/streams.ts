import { areOfOneHistory, type LiveEvent, type Place } from './events.ts'
import { type News, Stream } from './stream.ts'
import { keyOf, mayJoin, pathOf, type Target, type Wish } from './target.ts'

/** News, and the keys of the targets that it is about. */
export interface Message {
  readonly to: readonly string[]
  readonly news: News
}

export interface StreamsOptions {
  /** Requests an event stream. */
  readonly open: (path: string, signal: AbortSignal) => Promise<Response>
  readonly onMessage: (message: Message) => void
  /** Nothing will come for these targets, however often it is tried. */
  readonly onFailure: (keys: readonly string[], error: unknown) => void
}

/** Wishes that change within this, in milliseconds, make one change of the streams. */
const SETTLE = 20

/**
 * Where somebody is after some news: further, or where they were; undefined when they have missed something, a reset
 * included.
 */
export function advance(
  place: Place | undefined,
  news: Extract<News, { type: 'covered' }>,
): Place | undefined {
  if (place === undefined) return news.event ? undefined : news.place
  if (news.after > place.position || !areOfOneHistory(place, news.place)) return undefined
  return news.place.position > place.position ? news.place : place
}

/** Targets that share a stream. */
interface Group {
  targets: Map<string, Target>
  stream: Stream | undefined
  /** Who is in each room, for readers who come later. */
  presence: Map<string, LiveEvent>
}

interface KnownWish extends Wish {
  readonly key: string
  place: Place | undefined
  isNew: boolean
}

/** Follows with few streams what the readers of one or more tabs wish. */
export class Streams {
  readonly #options: StreamsOptions
  readonly #wishes = new Map<string, KnownWish[]>()
  #groups: Group[] = []
  #settling: ReturnType<typeof setTimeout> | undefined

  constructor(options: StreamsOptions) {
    this.#options = options
  }

  /** All that a tab's readers wish, in place of what they wished before. */
  announce(tab: string, wishes: readonly Wish[]): void {
    const keyed = wishes.map((wish) => ({ ...wish, key: keyOf(wish.target) }))
    if (keyed.length > 0) this.#wishes.set(tab, keyed)
    else this.#wishes.delete(tab)
    this.#settling ??= setTimeout(() => this.#settle(), SETTLE)
  }

  close(): void {
    clearTimeout(this.#settling)
    for (const { stream } of this.#groups) stream?.close()
    this.#groups = []
  }

  #settle(): void {
    this.#settling = undefined
    const wishes = [...this.#wishes.values()].flat()
    const wished = new Map(wishes.map(({ key, target }) => [key, target]))
    const changed = new Set<Group>()
    for (const group of this.#groups) {
      for (const key of group.targets.keys()) {
        if (wished.delete(key)) continue
        group.targets.delete(key)
        changed.add(group)
      }
    }
    for (const [key, target] of wished) {
      let group = this.#groups.find(({ targets }) => mayJoin([...targets.values()], target))
      if (!group) {
        group = { targets: new Map(), stream: undefined, presence: new Map() }
        this.#groups.push(group)
      }
      group.targets.set(key, target)
      changed.add(group)
    }
    for (const group of this.#groups) this.#follow(group, wishes, changed.has(group))
    this.#groups = this.#groups.filter(({ targets }) => targets.size > 0)
  }

  /** Begins a group's stream anew if it has to bring something else, or somebody needs what it has brought already. */
  #follow(group: Group, wishes: readonly KnownWish[], isChanged: boolean): void {
    const { stream } = group
    const own = wishes.filter(({ key }) => group.targets.has(key))
    const places = own.flatMap(({ place }) => place ?? [])
    const { place: told } = stream ?? {}
    // One who did not hear of a reset. The server knows which of the two places is still good, and resets the other.
    const other = told && places.find((place) => !areOfOneHistory(place, told))
    const lowest = places.reduce<Place | undefined>(
      (least, place) => (least && least.position <= place.position ? least : place),
      undefined,
    )
    const isBehind = lowest && told && lowest.position < told.position
    if (isChanged || isBehind || other) this.#begin(group, other ?? lowest ?? told)
    else this.#greet(group, own)
    for (const wish of own) wish.isNew = false
  }

  #begin(group: Group, place: Place | undefined): void {
    const wasLive = group.stream?.state.status === 'live'
    group.stream?.close()
    const [first, ...others] = group.targets.values()
    if (!first) return
    const keys = [...group.targets.keys()]
    group.presence.clear()
    group.stream = new Stream({
      place,
      open: (place, signal) =>
        this.#options.open(pathOf([first, ...others], place?.cursor), signal),
      onNews: (news) => {
        if (news.type === 'passing' && news.event.type === 'presence') {
          group.presence.set(news.event.roomId, news.event)
        }
        this.#tell(keys, news)
      },
      onFailure: (error) => {
        this.#groups = this.#groups.filter((other) => other !== group)
        this.#options.onFailure(keys, error)
      },
    })
    if (!wasLive) this.#tell(keys, { type: 'state', state: group.stream.state })
  }

  /** Tells all readers once more how far their streams are, so that whoever has missed something notices. */
  remind(): void {
    for (const group of this.#groups) this.#remind(group, [...group.targets.keys()])
  }

  /** Tells readers who come to a stream that is there already what it told before. */
  #greet(group: Group, wishes: readonly KnownWish[]): void {
    const keys = [...new Set(wishes.flatMap(({ key, isNew }) => (isNew ? key : [])))]
    if (keys.length === 0) return
    for (const event of group.presence.values()) this.#tell(keys, { type: 'passing', event })
    this.#remind(group, keys)
  }

  #remind({ stream }: Group, keys: readonly string[]): void {
    if (!stream) return
    const { place, state } = stream
    if (place) this.#tell(keys, { type: 'covered', after: place.position, place })
    this.#tell(keys, { type: 'state', state })
  }

  #tell(keys: readonly string[], news: News): void {
    this.#options.onMessage({ to: keys, news })
    if (news.type !== 'covered' && news.type !== 'reset') return
    // What was told counts as had: whoever did not get it says so.
    for (const wish of [...this.#wishes.values()].flat()) {
      if (!keys.includes(wish.key)) continue
      wish.place = news.type === 'reset' ? news.event : (advance(wish.place, news) ?? wish.place)
    }
  }
}
