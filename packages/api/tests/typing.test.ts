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

/** Notes what is told, and when. */
function createTyping(peers?: Peers) {
  const told: [at: number, who: string, isTyping: boolean][] = []
  const begin = Date.now()
  const typing = new Typing(Date.now, peers, (event: EphemeralEvent) => {
    if (event.type !== 'typing') throw new Error(`${event.type} of Typing`)
    const silence = event.isTyping ? 6_000 : 0
    expect(event.expiresAt.getTime()).toBe(Date.now() + silence)
    told.push([Date.now() - begin, `${event.roomId} ${event.side} ${event.userId}`, event.isTyping])
  })
  return { typing, told }
}

/** What is told of one person, who does this at these times. Written down from the rules, without a timer. */
function expected(steps: readonly (readonly [at: number, isTyping: boolean])[]) {
  const told: [at: number, isTyping: boolean][] = []
  let toldAt = Number.NEGATIVE_INFINITY
  let silentAt: number | undefined
  const stop = (at: number) => {
    if (silentAt !== undefined) told.push([at, false])
    silentAt = undefined
  }
  for (const [at, isTyping] of [...steps, [Number.POSITIVE_INFINITY, false] as const]) {
    if (silentAt !== undefined && silentAt <= at) stop(silentAt)
    if (!isTyping) stop(at)
    else if (at - toldAt >= 2_000) {
      told.push([at, true])
      toldAt = at
      silentAt = at + 6_000
    } else if (silentAt !== undefined) silentAt = at + 6_000
  }
  return told
}

test('what is told follows the rules, for each person in each room alone', () => {
  const people = [
    [room, ann],
    [room, { userId: 'ann', side: true }],
    [{ ...room, id: 'other' }, ann],
  ] as const
  const step = fc.record({
    who: fc.nat({ max: people.length - 1 }),
    isTyping: fc.boolean(),
    // Also exactly at the limits.
    wait: fc.oneof(fc.constantFrom(0, 1_999, 2_000, 5_999, 6_000), fc.nat({ max: 8_000 })),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const { typing, told } = createTyping()
      const said: [at: number, who: number, isTyping: boolean][] = []
      let at = 0
      for (const { who, isTyping, wait } of steps) {
        vi.advanceTimersByTime(wait)
        at += wait
        said.push([at, who, isTyping])
        const [where, person] = people[who] as (typeof people)[number]
        if (isTyping) typing.start(where, person)
        else typing.stop(where.id, person)
      }
      vi.advanceTimersByTime(6_000)
      for (const [index, [where, { userId, side }]] of people.entries()) {
        const name = `${where.id} ${side} ${userId}`
        const own = told.filter(([, who]) => who === name).map(([at, , typed]) => [at, typed])
        const done = said
          .filter(([, who]) => who === index)
          .map(([at, , typed]) => [at, typed] as const)
        expect(own).toEqual(expected(done))
      }
      // Nobody is remembered once there is nothing to tell.
      expect(vi.getTimerCount()).toBe(0)
    }),
  )
})

test('a start answers when it lapses, and one that nobody hears lapses at once', () => {
  const { typing, told } = createTyping()
  const begin = Date.now()
  expect(typing.start(room, ann)).toBe(begin + 6_000)
  vi.advanceTimersByTime(1_000)
  expect(typing.start(room, ann)).toBe(begin + 7_000)
  expect(typing.stop(room.id, ann)).toBe(begin + 1_000)
  expect(typing.start(room, ann)).toBe(begin + 1_000)
  expect(told.map(([at, , isTyping]) => [at, isTyping])).toEqual([
    [0, true],
    [1_000, false],
  ])
})

test.for([
  ['back', -3_600_000],
  ['forward', 3_600_000],
] as const)('a clock that is put %s keeps nobody silent', ([, jump]) => {
  let now = Date.now()
  const told: boolean[] = []
  const typing = new Typing(
    () => now,
    undefined,
    (event) => {
      if (event.type === 'typing') told.push(event.isTyping)
    },
  )
  typing.start(room, ann)
  now += jump
  vi.advanceTimersByTime(6_000)
  expect(told).toEqual([true, false])
  expect(vi.getTimerCount()).toBe(0)
  typing.start(room, ann)
  now += jump
  typing.start(room, ann)
  typing.stop(room.id, ann)
  expect(told.slice(2)).toEqual([true, true, false])
  vi.advanceTimersByTime(2_000)
  expect(vi.getTimerCount()).toBe(0)
})

test('of more people than fit nobody hears, until others are silent', () => {
  const { typing, told } = createTyping()
  for (let i = 0; i < 10_000; i++) typing.start(room, { userId: `user ${i}`, side: false })
  expect(typing.start(room, ann)).toBe(Date.now())
  expect(told).toHaveLength(10_000)
  // Who is known goes on.
  expect(typing.start(room, { userId: 'user 0', side: false })).toBe(Date.now() + 6_000)
  vi.advanceTimersByTime(6_000)
  expect(typing.start(room, ann)).toBe(Date.now() + 6_000)
})

test('nothing is told, and no timer waits, once it is closed', () => {
  const { typing, told } = createTyping()
  typing.start(room, ann)
  typing.close()
  expect(vi.getTimerCount()).toBe(0)
  vi.advanceTimersByTime(10_000)
  expect(told).toHaveLength(1)
})

/** Three instances that hear each other. */
function createInstances() {
  const group = createPeerGroup()
  const instances = [0, 1, 2].map(() => {
    const peers = group.join()
    group.connect(peers)
    const talk: unknown[] = []
    const send = peers.send
    const noted: Peers = {
      ...peers,
      send(topic, body) {
        talk.push(body)
        send(topic, body)
      },
    }
    return { ...createTyping(noted), talk, peers }
  })
  return { group, instances: instances as [Instance, Instance, Instance] }
}
type Instance = ReturnType<typeof createTyping> & { talk: unknown[]; peers: Peers }

test('a start at one instance is heard at all, and may be stopped at another', () => {
  const { instances } = createInstances()
  const [one, two] = instances
  one.typing.start(room, ann)
  vi.advanceTimersByTime(1_000)
  // Too early to be told again, wherever it is said.
  two.typing.start(room, ann)
  vi.advanceTimersByTime(500)
  two.typing.stop(room.id, ann)
  vi.advanceTimersByTime(10_000)
  for (const { told } of instances) {
    expect(told).toEqual([
      [0, 'room false ann', true],
      [1_500, 'room false ann', false],
    ])
  }
  expect(instances.map(({ talk }) => talk.length)).toEqual([1, 1, 0])
  expect(vi.getTimerCount()).toBe(0)
})

test('each instance finds by itself that somebody fell silent, also when theirs was killed', () => {
  const { group, instances } = createInstances()
  const [one, ...others] = instances
  one.typing.start(room, ann)
  group.cut(one.peers)
  one.typing.close()
  vi.advanceTimersByTime(6_000)
  for (const { told, talk } of others) {
    expect(told).toEqual([
      [0, 'room false ann', true],
      [6_000, 'room false ann', false],
    ])
    expect(talk).toEqual([])
  }
})
