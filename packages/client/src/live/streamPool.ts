import { haveSameEpoch, type LiveEvent, type Place } from './events.ts'
import { advance, type LogUpdate } from './logUpdate.ts'
import { Stream } from './stream.ts'
import { canShareStream, keyOf, pathOf, type StreamRequest, type Target } from './streamRequest.ts'

/** An update, and the keys of the targets that it is for. */
export interface KeyedUpdate {
  readonly keys: readonly string[]
  readonly update: LogUpdate
}

export interface StreamPoolOptions {
  /** Requests an event stream. */
  readonly open: (path: string, signal: AbortSignal) => Promise<Response>
  /** Tells the server that the reader of a stream is alive. */
  readonly sendHeartbeat: (streamId: string) => void
  readonly onUpdate: (keyed: KeyedUpdate) => void
  /** The stream of these targets failed, and a retry cannot succeed. */
  readonly onFailure: (keys: readonly string[], error: unknown) => void
}

/** Collects changes of the requests for this long before the streams change (ms). */
const DEBOUNCE_MS = 20

/** Targets that share a stream. */
interface StreamGroup {
  targets: Map<string, Target>
  stream: Stream | undefined
  /** Last presence event of each room, for readers that join later. */
  presence: Map<string, LiveEvent>
}

interface TrackedRequest extends StreamRequest {
  readonly key: string
  place: Place | undefined
  isNew: boolean
}

/** Serves the requests of one or more tabs with as few streams as possible. */
export class StreamPool {
  readonly #options: StreamPoolOptions
  readonly #requests = new Map<string, TrackedRequest[]>()
  #groups: StreamGroup[] = []
  #debounce: ReturnType<typeof setTimeout> | undefined

  constructor(options: StreamPoolOptions) {
    this.#options = options
  }

  /** Replaces all requests of a tab. */
  setRequests(tab: string, requests: readonly StreamRequest[]): void {
    const tracked = requests.map((request) => ({ ...request, key: keyOf(request.target) }))
    if (tracked.length > 0) this.#requests.set(tab, tracked)
    else this.#requests.delete(tab)
    this.#debounce ??= setTimeout(() => this.#regroup(), DEBOUNCE_MS)
  }

  close(): void {
    clearTimeout(this.#debounce)
    for (const { stream } of this.#groups) stream?.close()
    this.#groups = []
  }

  #regroup(): void {
    this.#debounce = undefined
    const requests = [...this.#requests.values()].flat()
    const ungrouped = new Map(requests.map(({ key, target }) => [key, target]))
    const changed = new Set<StreamGroup>()
    for (const group of this.#groups) {
      for (const key of group.targets.keys()) {
        if (ungrouped.delete(key)) continue
        group.targets.delete(key)
        changed.add(group)
      }
    }
    for (const [key, target] of ungrouped) {
      let group = this.#groups.find(({ targets }) => canShareStream([...targets.values()], target))
      if (!group) {
        group = { targets: new Map(), stream: undefined, presence: new Map() }
        this.#groups.push(group)
      }
      group.targets.set(key, target)
      changed.add(group)
    }
    for (const group of this.#groups) this.#updateGroup(group, requests, changed.has(group))
    this.#groups = this.#groups.filter(({ targets }) => targets.size > 0)
  }

  /** Restarts a group's stream if its targets changed or a reader needs earlier events. */
  #updateGroup(group: StreamGroup, requests: readonly TrackedRequest[], hasChanged: boolean): void {
    const own = requests.filter(({ key }) => group.targets.has(key))
    const places = own.flatMap(({ place }) => place ?? [])
    const current = group.stream?.place
    // A reader missed a reset. The server resets the stream if the place is of an epoch that is over.
    const foreign = current && places.find((place) => !haveSameEpoch(place, current))
    const lowest = places.reduce<Place | undefined>(
      (least, place) => (least && least.position <= place.position ? least : place),
      undefined,
    )
    const isBehind = lowest && current && lowest.position < current.position
    if (hasChanged || isBehind || foreign) this.#restart(group, foreign ?? lowest ?? current)
    else this.#sendCurrentState(group, own)
    for (const request of own) request.isNew = false
  }

  #restart(group: StreamGroup, place: Place | undefined): void {
    const wasLive = group.stream?.state.status === 'live'
    group.stream?.close()
    const [first, ...others] = group.targets.values()
    if (!first) return
    const keys = [...group.targets.keys()]
    group.presence.clear()
    group.stream = new Stream({
      place,
      open: (place, streamId, signal) =>
        this.#options.open(pathOf([first, ...others], place?.cursor, streamId), signal),
      onHeartbeat: (streamId) => {
        if (first.kind === 'room') this.#options.sendHeartbeat(streamId)
      },
      onUpdate: (update) => {
        if (update.type === 'ephemeral' && update.event.type === 'presence') {
          group.presence.set(update.event.roomId, update.event)
        }
        this.#send(keys, update)
      },
      onFailure: (error) => {
        this.#groups = this.#groups.filter((other) => other !== group)
        this.#options.onFailure(keys, error)
      },
    })
    if (!wasLive) this.#send(keys, { type: 'state', state: group.stream.state })
  }

  /** Sends the place and state of every stream again, so that a reader that missed something notices. */
  resendPositions(): void {
    for (const group of this.#groups) this.#resendPosition(group, [...group.targets.keys()])
  }

  /** Sends presence, place and state to readers that join an open stream. */
  #sendCurrentState(group: StreamGroup, requests: readonly TrackedRequest[]): void {
    const keys = [...new Set(requests.flatMap(({ key, isNew }) => (isNew ? key : [])))]
    if (keys.length === 0) return
    for (const event of group.presence.values()) this.#send(keys, { type: 'ephemeral', event })
    this.#resendPosition(group, keys)
  }

  #resendPosition({ stream }: StreamGroup, keys: readonly string[]): void {
    if (!stream) return
    const { place, state } = stream
    if (place) this.#send(keys, { type: 'range', after: place.position, place })
    this.#send(keys, { type: 'state', state })
  }

  #send(keys: readonly string[], update: LogUpdate): void {
    this.#options.onUpdate({ keys, update })
    if (update.type !== 'range' && update.type !== 'reset') return
    // Assume delivery: a reader that missed the update sends its request again.
    for (const request of [...this.#requests.values()].flat()) {
      if (!keys.includes(request.key)) continue
      request.place =
        update.type === 'reset' ? update.event : (advance(request.place, update) ?? request.place)
    }
  }
}
