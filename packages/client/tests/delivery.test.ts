import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { FeedEvent, RoomFeedEvent } from '../src/live/events.ts'
import type { Feed } from '../src/live/feed.ts'
import type { Feeds } from '../src/live/feeds.ts'
import { createFakeChat, data, FakeBrowser, FakeServer, type FakeTab, ORG } from './fakes.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

const rooms = ['room-1', 'room-2']

const feeds: { room?: string; of: (chat: Feeds) => Feed<FeedEvent | RoomFeedEvent> }[] = [
  ...rooms.map((room) => ({ room, of: (chat: Feeds) => chat.room(room) as Feed<RoomFeedEvent> })),
  { of: (chat) => chat.inbox({ orgId: ORG }) as Feed<FeedEvent> },
  { of: (chat) => chat.user({ orgId: ORG, userId: 'customer-1' }) as Feed<FeedEvent> },
]

/** A subscription with its stored events, states and errors. */
interface Reading {
  readonly tab: FakeTab | undefined
  readonly room: string | undefined
  readonly received: { type: string; position: number }[]
  readonly states: string[]
  readonly errors: unknown[]
  readonly stop: () => void
}

function subscribe(chat: Feeds, index: number, tab?: FakeTab): Reading {
  const feed = feeds[index % feeds.length] as (typeof feeds)[number]
  const received: Reading['received'] = []
  const states: string[] = []
  const errors: unknown[] = []
  const stop = feed.of(chat).subscribe({
    onEvent: (event) => {
      if ('position' in event) received.push({ type: event.type, position: event.position })
    },
    onState: ({ status }) => states.push(status),
    onError: (error) => errors.push(error),
  })
  return { tab, room: feed.room, received, states, errors, stop }
}

/** Positions of the events that a reading must have after a start at this position. */
function positionsAfter(server: FakeServer, { room }: Reading, start: number): number[] {
  const own = server.log.filter(({ roomId }) => room === undefined || roomId === room)
  return own.map(({ position }) => position).filter((position) => position > start)
}

/** True if a reading is live and has the latest event; the final check is {@link expectComplete}. */
function isCaughtUp(server: FakeServer, reading: Reading): boolean {
  const latest = reading.received.at(-1)
  if (reading.states.at(-1) !== 'live' || latest === undefined) return false
  // A position above the head is from before a loss of events.
  if (latest.position > server.head) return false
  return positionsAfter(server, reading, latest.position).length === 0
}

/**
 * Expects every event once and in order after each start (snapshot or reset), and all of them after the last start. If the
 * server has lost events, checks the last start only.
 */
function expectComplete(server: FakeServer, reading: Reading): void {
  const { received, states, errors } = reading
  expect(errors).toEqual([])
  expect(states.at(-1)).toBe('live')
  const starts = received.flatMap(({ type }, i) => (type === 'message.created' ? [] : [i]))
  expect(starts[0]).toBe(0)
  for (const [n, start] of starts.entries()) {
    // Events from before the loss are no longer in the log.
    if (server.epoch > 0 && n < starts.length - 1) continue
    const { position } = received[start] as { position: number }
    const actual = received.slice(start + 1, starts[n + 1]).map((event) => event.position)
    const expected = positionsAfter(server, reading, position)
    const isLast = starts[n + 1] === undefined
    expect(actual).toEqual(isLast ? expected : expected.slice(0, actual.length))
  }
}

type Step =
  | { do: 'write'; room: number }
  | { do: 'cut' | 'break' | 'prune' | 'end' | 'resend' | 'refuse' | 'open tab' }
  | { do: 'subscribe'; feed: number; tab: number }
  | { do: 'unsubscribe' | 'crash tab' | 'freeze' | 'hide' | 'disconnect'; which: number }
  | { do: 'wait'; time: number }
  | { do: 'lose'; count: number }

const index = fc.nat({ max: 20 })
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('write'), room: index }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('subscribe'), feed: index, tab: index }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('wait'), time: fc.nat({ max: 4_000 }) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('wait'), time: fc.nat({ max: 60 }) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom('unsubscribe', 'crash tab', 'freeze', 'hide', 'disconnect'),
      which: index,
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom('cut', 'break', 'prune', 'end', 'resend', 'refuse', 'open tab'),
    }),
  },
) as fc.Arbitrary<Step>

const stepWithLosses = fc.oneof(
  { weight: 12, arbitrary: step },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('lose' as const), count: fc.nat({ max: 4 }) }),
  },
)

/** A client recovers within this time (ms). */
const MAX_RECOVERY_MS = 300_000

/** Longer than any retry delay (25 s) and two leader checks (ms). */
const QUIET_MS = 30_000

/** Waits until the condition has held for {@link QUIET_MS}, or a recovery must be over. */
async function waitUntilQuiet(condition: () => boolean): Promise<void> {
  let quietFor = 0
  for (let waited = 0; waited < MAX_RECOVERY_MS && quietFor < QUIET_MS; waited += 1_000) {
    await vi.advanceTimersByTimeAsync(1_000)
    quietFor = condition() ? quietFor + 1_000 : 0
  }
}

/** Runs the steps, lets everything recover, and checks every subscription. */
async function play(steps: readonly Step[], split: FakeServer['split'], hasTabs: boolean) {
  const server = new FakeServer()
  server.split = split
  // Without heartbeats, silence timeouts would reconnect every stream and hide other faults.
  const heartbeat = setInterval(() => server.sendAll(data({ type: 'heartbeat' })), 20_000)
  const browser = new FakeBrowser()
  const chats: { chat: Feeds; tab?: FakeTab }[] = []
  const openChat = () => {
    const tab = hasTabs ? browser.openTab(server) : undefined
    chats.push(
      tab
        ? { chat: createFakeChat(server, { browser: tab, fetch: tab.fetch }), tab }
        : { chat: createFakeChat(server) },
    )
  }
  for (let i = 0; i < 3; i++) openChat()
  let readings: Reading[] = []
  for (const step of steps) {
    switch (step.do) {
      case 'write':
        server.append(rooms[step.room % rooms.length] as string)
        break
      case 'subscribe': {
        const { chat, tab } = chats[step.tab % chats.length] as (typeof chats)[number]
        readings.push(subscribe(chat, step.feed, tab))
        break
      }
      case 'unsubscribe':
        readings.splice(step.which % (readings.length + 1), 1)[0]?.stop()
        break
      case 'crash tab': {
        const [crashed] = hasTabs ? chats.splice(step.which % chats.length, 1) : []
        crashed?.tab?.crash()
        readings = readings.filter(({ tab }) => !tab?.isCrashed)
        if (chats.length === 0) openChat()
        break
      }
      case 'freeze':
      case 'hide':
      case 'disconnect': {
        const tab = chats[step.which % chats.length]?.tab
        if (!tab) break
        if (step.do === 'hide') tab.isHidden = !tab.isHidden
        else if (step.do === 'disconnect') tab.isDisconnected = !tab.isDisconnected
        else tab.isFrozen = !tab.isFrozen
        break
      }
      case 'open tab':
        openChat()
        break
      case 'cut':
        server.cutAll()
        break
      case 'break':
        server.cutAll(new TypeError('terminated'))
        break
      case 'prune':
        server.prune()
        break
      case 'end':
        server.sendAll(data({ type: 'end', reason: 'shutdown' }))
        server.cutAll()
        break
      case 'resend':
        server.resendLatest()
        break
      case 'refuse':
        server.refusals.push(new Response('down', { status: 503 }))
        break
      case 'lose':
        server.loseLatest(step.count)
        break
      case 'wait':
        await vi.advanceTimersByTimeAsync(step.time)
    }
  }
  for (const { tab } of chats) {
    if (tab) Object.assign(tab, { isFrozen: false, isHidden: false, isDisconnected: false })
  }
  await waitUntilQuiet(() => readings.every((reading) => isCaughtUp(server, reading)))
  for (const reading of readings) expectComplete(server, reading)
  clearInterval(heartbeat)
  for (const { stop } of readings) stop()
  await vi.advanceTimersByTimeAsync(1_000)
  expect(server.connections.size).toBe(0)
}

const steps = fc.array(step, { maxLength: 80, size: 'max' })

const splits = fc.constantFrom<FakeServer['split']>(
  (text) => [text],
  // Between all characters of a frame's first line and end, where the parser changes its state.
  (text) => [...text.slice(0, 8), text.slice(8, -8), ...text.slice(-8)],
  (text) => text.match(/.{1,7}/gs) ?? [],
)

/** Each property runs on a simulated clock, but needs seconds of CPU time, which a busy machine grants slowly. */
const timeout = 300_000

test('delivers each event once and in order, whatever happens to the connections', {
  timeout,
}, async () => {
  await fc.assert(
    fc.asyncProperty(steps, splits, (steps, split) => play(steps, split, false)),
    { numRuns: 100 },
  )
})

test('delivers each event once and in order, whatever happens to the tabs that share connections', {
  timeout,
}, async () => {
  await fc.assert(
    fc.asyncProperty(steps, splits, (steps, split) => play(steps, split, true)),
    { numRuns: 100 },
  )
})

test.for([false, true])(
  'starts each reader again after the server lost events (tabs share connections: %s)',
  { timeout },
  async (hasTabs) => {
    const steps = fc.array(stepWithLosses, { maxLength: 80, size: 'max' })
    await fc.assert(
      fc.asyncProperty(steps, splits, (steps, split) => play(steps, split, hasTabs)),
      { numRuns: 50 },
    )
  },
)
