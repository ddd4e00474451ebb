import type { Peers } from '@dowell-chat/db'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { PresenceState } from '../src/events/live/presence.ts'
import { SharedPresence } from '../src/events/live/sharedPresence.ts'
import { createPeerGroup } from './peerGroup.ts'

const roomOf = (id: string) => ({ id, orgId: 'org', userId: 'ann', productName: 'LOGIN' })
const ROOMS = ['a', 'b', 'c']

const GRACE_MS = 5_000
/** A silent instance is dropped within this time. */
const PEER_TIMEOUT_MS = 40_000

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

function createInstance(peers: Peers | undefined) {
  const changes: [room: string, customer: boolean, support: boolean][] = []
  const presence = new SharedPresence(peers, ({ id }, { customer, support }) => {
    changes.push([id, customer, support])
  })
  return { presence, changes }
}

test('all instances agree on presence after cuts, restarts and lost messages', () => {
  const N = 3
  const instance = fc.nat({ max: N - 1 })
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        action: fc.constantFrom('enter', 'leave'),
        instance,
        room: fc.constantFrom(...ROOMS),
        side: fc.boolean(),
      }),
    },
    { weight: 1, arbitrary: fc.record({ action: fc.constantFrom('cut', 'kill'), instance }) },
    { weight: 1, arbitrary: fc.record({ action: fc.constant('mend'), instance }) },
    {
      weight: 2,
      arbitrary: fc.record({ action: fc.constant('wait'), ms: fc.nat({ max: 20_000 }) }),
    },
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const group = createPeerGroup()
      const createMember = () => {
        const peers = group.join()
        return { peers, ...createInstance(peers), open: new Map<string, number>() }
      }
      const instances = Array.from({ length: N }, createMember)
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
          if (step.action === 'enter') it.presence.enter(roomOf(step.room), step.side)
          else if (open > 0) it.presence.leave(step.room, step.side)
          it.open.set(key, Math.max(0, open + (step.action === 'enter' ? 1 : -1)))
        } else if (step.action === 'cut') group.cut(it.peers)
        else if (step.action === 'mend') group.connect(it.peers)
        else {
          group.cut(it.peers)
          it.presence.close()
          instances[step.instance] = createMember()
          group.connect((instances[step.instance] as (typeof instances)[number]).peers)
        }
      }
      for (const { peers } of instances) group.connect(peers)
      vi.advanceTimersByTime(Math.max(GRACE_MS, PEER_TIMEOUT_MS))
      for (const room of ROOMS) {
        const some = (side: boolean) =>
          instances.some(({ open }) => (open.get(`${room} ${side}`) ?? 0) > 0)
        const expected: PresenceState = { customer: some(false), support: some(true) }
        for (const { presence, changes } of instances) {
          expect(presence.stateOf(room)).toEqual(expected)
          const own = changes.filter(([id]) => id === room).map(([, ...state]) => state)
          // Only changes are reported, and the last one is the current state.
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

test('a stream that reconnects to another instance stays present', () => {
  const group = createPeerGroup()
  const [one, two] = [group.join(), group.join()]
  const [first, second] = [createInstance(one), createInstance(two)]
  for (const peers of [one, two]) group.connect(peers)
  first.presence.enter(roomOf('a'), false)
  first.presence.leave('a', false)
  vi.advanceTimersByTime(GRACE_MS - 1)
  second.presence.enter(roomOf('a'), false)
  vi.advanceTimersByTime(60_000)
  for (const { changes } of [first, second]) expect(changes).toEqual([['a', true, false]])
})

test('the presence of a killed instance is dropped after 30 to 40 seconds', () => {
  const group = createPeerGroup()
  const [one, two] = [group.join(), group.join()]
  const [first, second] = [createInstance(one), createInstance(two)]
  for (const peers of [one, two]) group.connect(peers)
  first.presence.enter(roomOf('a'), true)
  group.cut(one)
  first.presence.close()
  vi.advanceTimersByTime(29_999)
  expect(second.presence.stateOf('a')).toEqual({ customer: false, support: true })
  vi.advanceTimersByTime(PEER_TIMEOUT_MS - 29_999)
  expect(second.changes).toEqual([
    ['a', false, true],
    ['a', false, false],
  ])
})

test.for([
  ['back', -3_600_000],
  ['forward', 3_600_000],
] as const)('a clock that is put %s affects neither present nor gone sides', ([, jump]) => {
  const group = createPeerGroup()
  const [one, two] = [group.join(), group.join()]
  const first = createInstance(one)
  // The first instance sends its heartbeats just before the second.
  vi.advanceTimersByTime(1)
  const second = createInstance(two)
  for (const peers of [one, two]) group.connect(peers)
  second.presence.enter(roomOf('a'), true)
  vi.advanceTimersByTime(15_000)
  vi.setSystemTime(Date.now() + jump)
  vi.advanceTimersByTime(15_000)
  expect(first.changes).toEqual([['a', false, true]])
  group.cut(two)
  second.presence.close()
  vi.setSystemTime(Date.now() + jump)
  vi.advanceTimersByTime(PEER_TIMEOUT_MS)
  expect(first.presence.stateOf('a')).toEqual({ customer: false, support: false })
  first.presence.close()
})

test('presence works on a single instance', () => {
  const { presence, changes } = createInstance(undefined)
  presence.enter(roomOf('a'), true)
  presence.leave('a', true)
  vi.advanceTimersByTime(GRACE_MS)
  expect(changes).toEqual([
    ['a', false, true],
    ['a', false, false],
  ])
})
