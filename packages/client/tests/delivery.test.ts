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
  { of: (chat) => chat.user({ orgId: ORG, userId: 'somebody' }) as Feed<FeedEvent> },
]

/** A subscription and what it was received, in order. */
interface Reading {
  readonly tab: FakeTab | undefined
  readonly room: string | undefined
  readonly received: { type: string; position: number }[]
  readonly states: string[]
  readonly errors: unknown[]
  readonly stop: () => void
}

function read(chat: Feeds, index: number, tab?: FakeTab): Reading {
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

/**
 * From each beginning on every event once and in order; after the last beginning all there are. Of a server that has lost
 * events only the last.
 */
function expectComplete(server: FakeServer, { room, received, states, errors }: Reading): void {
  expect(errors).toEqual([])
  expect(states.at(-1)).toBe('live')
  const own = server.log.filter(({ roomId }) => room === undefined || roomId === room)
  const begins = received.flatMap(({ type }, i) => (type === 'message.created' ? [] : [i]))
  expect(begins[0]).toBe(0)
  for (const [n, begin] of begins.entries()) {
    // What was heard before that is there no more.
    if (server.epoch > 0 && n < begins.length - 1) continue
    const { position } = received[begin] as { position: number }
    const heard = received.slice(begin + 1, begins[n + 1]).map((event) => event.position)
    const due = own.map((event) => event.position).filter((other) => other > position)
    expect(heard).toEqual(begins[n + 1] === undefined ? due : due.slice(0, heard.length))
  }
}

type Step =
  | { do: 'write'; room: number }
  | { do: 'cut' | 'break' | 'forget' | 'end' | 'repeat' | 'refuse' | 'open tab' }
  | { do: 'subscribe'; feed: number; tab: number }
  | { do: 'unsubscribe' | 'kill tab' | 'sleep' | 'hide' | 'deafen'; which: number }
  | { do: 'wait'; time: number }
  | { do: 'lose'; count: number }

const some = fc.nat({ max: 20 })
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('write'), room: some }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('subscribe'), feed: some, tab: some }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('wait'), time: fc.nat({ max: 4_000 }) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('wait'), time: fc.nat({ max: 60 }) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom('unsubscribe', 'kill tab', 'sleep', 'hide', 'deafen'),
      which: some,
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom('cut', 'break', 'forget', 'end', 'repeat', 'refuse', 'open tab'),
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

async function play(steps: readonly Step[], split: FakeServer['split'], hasTabs: boolean) {
  const server = new FakeServer()
  server.split = split
  // Without it silence would mend what nothing else has.
  const beating = setInterval(() => server.sendAll(data({ type: 'heartbeat' })), 20_000)
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
        readings.push(read(chat, step.feed, tab))
        break
      }
      case 'unsubscribe':
        readings.splice(step.which % (readings.length + 1), 1)[0]?.stop()
        break
      case 'kill tab': {
        const [gone] = hasTabs ? chats.splice(step.which % chats.length, 1) : []
        gone?.tab?.crash()
        readings = readings.filter(({ tab }) => !tab?.isCrashed)
        if (chats.length === 0) openChat()
        break
      }
      case 'sleep':
      case 'hide':
      case 'deafen': {
        const tab = chats[step.which % chats.length]?.tab
        if (!tab) break
        if (step.do === 'hide') tab.isHidden = !tab.isHidden
        else if (step.do === 'deafen') tab.isDisconnected = !tab.isDisconnected
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
      case 'forget':
        server.prune()
        break
      case 'end':
        server.sendAll(data({ type: 'end', reason: 'shutdown' }))
        server.cutAll()
        break
      case 'repeat':
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
  // Long enough for every delay that is left.
  await vi.advanceTimersByTimeAsync(300_000)
  for (const reading of readings) expectComplete(server, reading)
  clearInterval(beating)
  for (const { stop } of readings) stop()
  await vi.advanceTimersByTimeAsync(1_000)
  expect(server.connections.size).toBe(0)
}

const steps = fc.array(step, { maxLength: 80, size: 'max' })

const pieces = fc.constantFrom<FakeServer['split']>(
  (text) => [text],
  (text) => [...text],
  (text) => text.match(/.{1,7}/gs) ?? [],
)

test('each event comes once and in order, whatever happens to the connections', async () => {
  await fc.assert(
    fc.asyncProperty(steps, pieces, (steps, split) => play(steps, split, false)),
    { numRuns: 100 },
  )
})

test('and whatever happens to the tabs that share them', async () => {
  await fc.assert(
    fc.asyncProperty(steps, pieces, (steps, split) => play(steps, split, true)),
    { numRuns: 100 },
  )
})

test.for([false, true])(
  'after a server has lost events each reader begins anew, whether tabs share connections (%s) or not',
  async (hasTabs) => {
    const steps = fc.array(stepWithLosses, { maxLength: 80, size: 'max' })
    await fc.assert(
      fc.asyncProperty(steps, pieces, (steps, split) => play(steps, split, hasTabs)),
      { numRuns: 50 },
    )
  },
)
