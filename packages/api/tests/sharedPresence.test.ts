import type { Peers } from '@dowell-chat/db'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { PresenceState } from '../src/events/live/presence.ts'
import { SharedPresence } from '../src/events/live/sharedPresence.ts'
import { createPeerGroup } from './peerGroup.ts'

const roomOf = (id: string) => ({ id, orgId: 'org', userId: 'ann', productName: 'LOGIN' })
const ROOMS = ['a', 'b', 'c']

/** How long a side that left is kept, and how long until an instance that says nothing is forgotten. */
const GRACE = 5_000
const FORGOTTEN = 40_000

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

function createInstance(peers: Peers | undefined) {
  const told: [room: string, customer: boolean, support: boolean][] = []
  const presence = new SharedPresence(peers, ({ id }, { customer, support }) => {
    told.push([id, customer, support])
  })
  return { presence, told }
}

test('who is there at any instance is there at all of them, whoever is killed or misses something', () => {
  const N = 3
  const instance = fc.nat({ max: N - 1 })
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        what: fc.constantFrom('enter', 'leave'),
        instance,
        room: fc.constantFrom(...ROOMS),
        side: fc.boolean(),
      }),
    },
    { weight: 1, arbitrary: fc.record({ what: fc.constantFrom('cut', 'kill'), instance }) },
    { weight: 1, arbitrary: fc.record({ what: fc.constant('mend'), instance }) },
    { weight: 2, arbitrary: fc.record({ what: fc.constant('wait'), ms: fc.nat({ max: 20_000 }) }) },
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const group = createPeerGroup()
      const make = () => {
        const peers = group.join()
        return { peers, ...createInstance(peers), open: new Map<string, number>() }
      }
      const instances = Array.from({ length: N }, make)
      for (const { peers } of instances) group.connect(peers)
      for (const step of steps) {
        if ('ms' in step) {
          vi.advanceTimersByTime(step.ms)
          continue
        }
        const it = instances[step.instance] as (typeof instances)[number]
        if ('room' in step) {
          const key = `${step.room} ${step.side}`
          const open = it.open.get(key) ?? 0
          if (step.what === 'enter') it.presence.enter(roomOf(step.room), step.side)
          else if (open > 0) it.presence.leave(step.room, step.side)
          it.open.set(key, Math.max(0, open + (step.what === 'enter' ? 1 : -1)))
        } else if (step.what === 'cut') group.cut(it.peers)
        else if (step.what === 'mend') group.connect(it.peers)
        else {
          group.cut(it.peers)
          it.presence.close()
          instances[step.instance] = make()
          group.connect((instances[step.instance] as (typeof instances)[number]).peers)
        }
      }
      for (const { peers } of instances) group.connect(peers)
      vi.advanceTimersByTime(Math.max(GRACE, FORGOTTEN))
      for (const room of ROOMS) {
        const some = (side: boolean) =>
          instances.some(({ open }) => (open.get(`${room} ${side}`) ?? 0) > 0)
        const expected: PresenceState = { customer: some(false), support: some(true) }
        for (const { presence, told } of instances) {
          expect(presence.stateOf(room)).toEqual(expected)
          const own = told.filter(([id]) => id === room).map(([, ...state]) => state)
          // Each is told of changes only, and the last is how it is.
          expect(own.at(-1) ?? [false, false]).toEqual([expected.customer, expected.support])
          for (const [index, state] of own.entries()) {
            expect(state).not.toEqual(own[index - 1] ?? [false, false])
          }
        }
      }
      for (const { presence } of instances) presence.close()
      expect(vi.getTimerCount()).toBe(0)
    }),
  )
})

test('a stream that goes on at another instance was never away', () => {
  const group = createPeerGroup()
  const [one, two] = [group.join(), group.join()]
  const [first, second] = [createInstance(one), createInstance(two)]
  for (const peers of [one, two]) group.connect(peers)
  first.presence.enter(roomOf('a'), false)
  first.presence.leave('a', false)
  vi.advanceTimersByTime(GRACE - 1)
  second.presence.enter(roomOf('a'), false)
  vi.advanceTimersByTime(60_000)
  for (const { told } of [first, second]) expect(told).toEqual([['a', true, false]])
})

test('an instance that is killed is forgotten after 30 seconds, and not before', () => {
  const group = createPeerGroup()
  const [one, two] = [group.join(), group.join()]
  const [first, second] = [createInstance(one), createInstance(two)]
  for (const peers of [one, two]) group.connect(peers)
  first.presence.enter(roomOf('a'), true)
  group.cut(one)
  first.presence.close()
  vi.advanceTimersByTime(29_999)
  expect(second.presence.stateOf('a')).toEqual({ customer: false, support: true })
  vi.advanceTimersByTime(FORGOTTEN - 29_999)
  expect(second.told).toEqual([
    ['a', false, true],
    ['a', false, false],
  ])
})

test.for([
  ['back', -3_600_000],
  ['forward', 3_600_000],
] as const)(
  'a clock that is put %s neither loses who is there nor keeps who is gone',
  ([, jump]) => {
    const group = createPeerGroup()
    const [one, two] = [group.join(), group.join()]
    const first = createInstance(one)
    // Its beats come just before those of the other.
    vi.advanceTimersByTime(1)
    const second = createInstance(two)
    for (const peers of [one, two]) group.connect(peers)
    second.presence.enter(roomOf('a'), true)
    vi.advanceTimersByTime(15_000)
    vi.setSystemTime(Date.now() + jump)
    vi.advanceTimersByTime(15_000)
    expect(first.told).toEqual([['a', false, true]])
    group.cut(two)
    second.presence.close()
    vi.setSystemTime(Date.now() + jump)
    vi.advanceTimersByTime(FORGOTTEN)
    expect(first.presence.stateOf('a')).toEqual({ customer: false, support: false })
    first.presence.close()
  },
)

test('an instance without others needs none', () => {
  const { presence, told } = createInstance(undefined)
  presence.enter(roomOf('a'), true)
  presence.leave('a', true)
  vi.advanceTimersByTime(GRACE)
  expect(told).toEqual([
    ['a', false, true],
    ['a', false, false],
  ])
})
