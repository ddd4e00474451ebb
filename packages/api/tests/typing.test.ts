import type { Peers } from '@dowell-chat/db'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Typing } from '../src/events/live/typing.ts'
import type { EphemeralEvent } from '../src/events/schema.ts'
import { createPeerGroup } from './peerGroup.ts'

const room = { id: 'room', orgId: 'org', userId: 'ann', productName: 'LOGIN' }
const ann = { userId: 'ann', side: false }

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** Records the published events and their times. */
function createTyping(peers?: Peers) {
  const published: [at: number, who: string, isTyping: boolean][] = []
  const begin = Date.now()
  const typing = new Typing(Date.now, peers, (event: EphemeralEvent) => {
    if (event.type !== 'typing') throw new Error(`${event.type} of Typing`)
    const ttl = event.isTyping ? 6_000 : 0
    expect(event.expiresAt.getTime()).toBe(Date.now() + ttl)
    expect(event.expiresInMs).toBe(ttl)
    published.push([
      Date.now() - begin,
      `${event.roomId} ${event.side} ${event.userId}`,
      event.isTyping,
    ])
  })
  return { typing, published }
}

/** Computes the published events of one participant from their steps, without timers. */
function expectedEvents(steps: readonly (readonly [at: number, isTyping: boolean])[]) {
  const events: [at: number, isTyping: boolean][] = []
  let publishedAt = Number.NEGATIVE_INFINITY
  let expiresAt: number | undefined
  const stop = (at: number) => {
    if (expiresAt !== undefined) events.push([at, false])
    expiresAt = undefined
  }
  for (const [at, isTyping] of [...steps, [Number.POSITIVE_INFINITY, false] as const]) {
    if (expiresAt !== undefined && expiresAt <= at) stop(expiresAt)
    if (!isTyping) stop(at)
    else if (at - publishedAt >= 2_000) {
      events.push([at, true])
      publishedAt = at
      expiresAt = at + 6_000
    } else if (expiresAt !== undefined) expiresAt = at + 6_000
  }
  return events
}

test('publishes starts and stops by the rules, separately for each participant and room', () => {
  const participants = [
    [room, ann],
    [room, { userId: 'ann', side: true }],
    [{ ...room, id: 'other' }, ann],
  ] as const
  const step = fc.record({
    who: fc.nat({ max: participants.length - 1 }),
    isTyping: fc.boolean(),
    // With the exact limits.
    wait: fc.oneof(fc.constantFrom(0, 1_999, 2_000, 5_999, 6_000), fc.nat({ max: 8_000 })),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const { typing, published } = createTyping()
      const calls: [at: number, who: number, isTyping: boolean][] = []
      let at = 0
      for (const { who, isTyping, wait } of steps) {
        vi.advanceTimersByTime(wait)
        at += wait
        calls.push([at, who, isTyping])
        const [where, participant] = participants[who] as (typeof participants)[number]
        if (isTyping) typing.start(where, participant)
        else typing.stop(where.id, participant)
      }
      vi.advanceTimersByTime(6_000)
      for (const [index, [where, { userId, side }]] of participants.entries()) {
        const name = `${where.id} ${side} ${userId}`
        const own = published.filter(([, who]) => who === name).map(([at, , typed]) => [at, typed])
        const done = calls
          .filter(([, who]) => who === index)
          .map(([at, , typed]) => [at, typed] as const)
        expect(own).toEqual(expectedEvents(done))
      }
      // No entry remains once all starts have expired.
      expect(vi.getTimerCount()).toBe(0)
    }),
  )
})

test('start returns its expiry, which is now for a start that is not published', () => {
  const { typing, published } = createTyping()
  const begin = Date.now()
  expect(typing.start(room, ann)).toBe(begin + 6_000)
  vi.advanceTimersByTime(1_000)
  expect(typing.start(room, ann)).toBe(begin + 7_000)
  expect(typing.stop(room.id, ann)).toBe(begin + 1_000)
  expect(typing.start(room, ann)).toBe(begin + 1_000)
  expect(published.map(([at, , isTyping]) => [at, isTyping])).toEqual([
    [0, true],
    [1_000, false],
  ])
})

test.for([
  ['back', -3_600_000],
  ['forward', 3_600_000],
] as const)('a clock that is put %s suppresses no start', ([, jump]) => {
  let now = Date.now()
  const states: boolean[] = []
  const typing = new Typing(
    () => now,
    undefined,
    (event) => {
      if (event.type === 'typing') states.push(event.isTyping)
    },
  )
  typing.start(room, ann)
  now += jump
  vi.advanceTimersByTime(6_000)
  expect(states).toEqual([true, false])
  expect(vi.getTimerCount()).toBe(0)
  typing.start(room, ann)
  now += jump
  typing.start(room, ann)
  typing.stop(room.id, ann)
  expect(states.slice(2)).toEqual([true, true, false])
  vi.advanceTimersByTime(2_000)
  expect(vi.getTimerCount()).toBe(0)
})

test('starts beyond 10,000 participants are not published until others stop', () => {
  const { typing, published } = createTyping()
  for (let i = 0; i < 10_000; i++) typing.start(room, { userId: `user ${i}`, side: false })
  expect(typing.start(room, ann)).toBe(Date.now())
  expect(published).toHaveLength(10_000)
  // A participant with an entry can continue.
  expect(typing.start(room, { userId: 'user 0', side: false })).toBe(Date.now() + 6_000)
  vi.advanceTimersByTime(6_000)
  expect(typing.start(room, ann)).toBe(Date.now() + 6_000)
})

test('close stops all events and timers', () => {
  const { typing, published } = createTyping()
  typing.start(room, ann)
  typing.close()
  expect(vi.getTimerCount()).toBe(0)
  vi.advanceTimersByTime(10_000)
  expect(published).toHaveLength(1)
})

/** Three connected instances. */
function createInstances() {
  const group = createPeerGroup()
  const instances = [0, 1, 2].map(() => {
    const peers = group.join()
    group.connect(peers)
    const sent: unknown[] = []
    const send = peers.send
    const recording: Peers = {
      ...peers,
      send(topic, body) {
        sent.push(body)
        send(topic, body)
      },
    }
    return { ...createTyping(recording), sent, peers }
  })
  return { group, instances: instances as [Instance, Instance, Instance] }
}
type Instance = ReturnType<typeof createTyping> & { sent: unknown[]; peers: Peers }

test('a start is published at all instances and may be stopped at another one', () => {
  const { instances } = createInstances()
  const [one, two] = instances
  one.typing.start(room, ann)
  vi.advanceTimersByTime(1_000)
  // Within 2 seconds of the first start, so not published at any instance.
  two.typing.start(room, ann)
  vi.advanceTimersByTime(500)
  two.typing.stop(room.id, ann)
  vi.advanceTimersByTime(10_000)
  for (const { published } of instances) {
    expect(published).toEqual([
      [0, 'room false ann', true],
      [1_500, 'room false ann', false],
    ])
  }
  expect(instances.map(({ sent }) => sent.length)).toEqual([1, 1, 0])
  expect(vi.getTimerCount()).toBe(0)
})

test('each instance expires a start by itself, even after its sender was killed', () => {
  const { group, instances } = createInstances()
  const [one, ...others] = instances
  one.typing.start(room, ann)
  group.cut(one.peers)
  one.typing.close()
  vi.advanceTimersByTime(6_000)
  for (const { published, sent } of others) {
    expect(published).toEqual([
      [0, 'room false ann', true],
      [6_000, 'room false ann', false],
    ])
    expect(sent).toEqual([])
  }
})
