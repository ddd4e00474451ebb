import { createTestDb } from '@dowell-chat/db/testing'
import { expect, test } from 'vitest'
import type { UserActor } from '../src/auth/actor.ts'
import { onRoomEvents } from '../src/events/onRoomEvents.ts'
import type { StreamEvent } from '../src/events/schema.ts'
import { createCaller } from '../src/operation/trpc.ts'
import { createContext, createDeps, run } from './support.ts'

const PEOPLE = { ann: false, amara: true } as const
type Name = keyof typeof PEOPLE

function tokenOf(userId: Name): UserActor {
  const side = PEOPLE[userId]
  const expiresAt = Number.POSITIVE_INFINITY
  return { kind: 'user', orgId: 'org', userId, side, rooms: undefined, keyId: undefined, expiresAt }
}

test('who listens hears of a start, of nothing that only repeats it, and of the end', async () => {
  await using db = await createTestDb()
  const deps = createDeps(db)
  const chat = createCaller(createContext(deps))
  const as = (name: Name) => createCaller({ ...createContext(deps), actor: tokenOf(name) })
  const identity = { userId: 'ann', orgId: 'org', portfolioName: 'p' }
  const { room } = await chat.createRoom({ ...identity, productName: 'q' })
  const { room: other } = await chat.createRoom({ ...identity, productName: 'r' })
  const roomId = room.id
  const stream = await run(deps, tokenOf('ann'), onRoomEvents, { roomId })
  const heard: StreamEvent[] = []
  // Until something is heard that the test does last.
  const hearUntil = async (type: StreamEvent['type']) => {
    while (heard.every((event) => event.type !== type)) heard.push(...((await stream.next()) ?? []))
    return heard
      .splice(0)
      .flatMap((event) =>
        event.type === 'typing'
          ? [[event.roomId, event.userId, event.side, event.isTyping]]
          : [event.type],
      )
  }
  await hearUntil('presence')

  const started = await as('amara').setTyping({ roomId, isTyping: true })
  expect(started.expiresAt.getTime()).toBeGreaterThan(deps.clock())
  await as('amara').setTyping({ roomId, isTyping: true })
  await as('ann').setTyping({ roomId: other.id, isTyping: true })
  await as('ann').setTyping({ roomId, isTyping: false })
  await chat.setTyping({ roomId, isTyping: true, userId: 'ann', side: true })
  // Somebody else's message ends nothing; nor does one of the same name on the other side.
  const message = { roomId, messageData: 'text' }
  await chat.createMessage({ ...message, side: false, author: 'amara' })
  expect(await hearUntil('message.created')).toEqual([
    [roomId, 'amara', true, true],
    [roomId, 'ann', true, true],
    'message.created',
  ])

  await as('amara').createMessage({ ...message, side: true, author: 'amara' })
  expect(await hearUntil('message.created')).toEqual([
    [roomId, 'amara', true, false],
    'message.created',
  ])

  await chat.setTyping({ roomId, isTyping: false, userId: 'ann', side: true })
  await chat.createMessage({ ...message, side: true, author: 'ann' })
  expect(await hearUntil('message.created')).toEqual([
    [roomId, 'ann', true, false],
    'message.created',
  ])
  stream.leave()
  deps.live.close()
})
