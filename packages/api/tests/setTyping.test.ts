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
  const token = { signingKeyId: 'signing key', issuedAt: 0 }
  return {
    ...{ kind: 'user', orgId: 'org', userId, side, rooms: undefined, keyId: undefined },
    ...{ expiresAt, token },
  }
}

test('streams get the start and the stop of typing, but no repeated start', async () => {
  await using db = await createTestDb()
  const deps = createDeps(db)
  const chat = createCaller(createContext(deps))
  const as = (name: Name) => createCaller({ ...createContext(deps), actor: tokenOf(name) })
  const identity = { userId: 'ann', orgId: 'org', portfolioName: 'p' }
  const { room } = await chat.createRoom({ ...identity, productName: 'q' })
  const { room: other } = await chat.createRoom({ ...identity, productName: 'r' })
  const roomId = room.id
  const stream = await run(deps, tokenOf('ann'), onRoomEvents, { roomId })
  const received: StreamEvent[] = []
  /** Returns the events up to the first one of this type. */
  const receiveUntil = async (type: StreamEvent['type']) => {
    while (received.every((event) => event.type !== type))
      received.push(...((await stream.next()) ?? []))
    return received
      .splice(0)
      .flatMap((event) =>
        event.type === 'typing'
          ? [[event.roomId, event.userId, event.side, event.isTyping]]
          : [event.type],
      )
  }
  await receiveUntil('presence')

  const started = await as('amara').setTyping({ roomId, isTyping: true })
  expect(started.expiresAt.getTime()).toBeGreaterThan(deps.clock())
  expect(started.expiresInMs).toBe(6_000)
  await as('amara').setTyping({ roomId, isTyping: true })
  await as('ann').setTyping({ roomId: other.id, isTyping: true })
  await as('ann').setTyping({ roomId, isTyping: false })
  await chat.setTyping({ roomId, isTyping: true, userId: 'ann', side: true })
  // A message of the same user id on the other side does not end the typing.
  const message = { roomId, messageData: 'text' }
  await chat.createMessage({ ...message, side: false, author: 'amara' })
  expect(await receiveUntil('message.created')).toEqual([
    [roomId, 'amara', true, true],
    [roomId, 'ann', true, true],
    'message.created',
  ])

  await as('amara').createMessage({ ...message, side: true, author: 'amara' })
  expect(await receiveUntil('message.created')).toEqual([
    [roomId, 'amara', true, false],
    'message.created',
  ])

  await chat.setTyping({ roomId, isTyping: false, userId: 'ann', side: true })
  await chat.createMessage({ ...message, side: true, author: 'ann' })
  expect(await receiveUntil('message.created')).toEqual([
    [roomId, 'ann', true, false],
    'message.created',
  ])
  stream.leave()
  deps.live.close()
})

test('a message ends the typing of its sender also when its author is not the user id', async () => {
  await using db = await createTestDb()
  const deps = createDeps(db)
  const chat = createCaller(createContext(deps))
  const identity = { userId: 'ann', orgId: 'org', portfolioName: 'p', productName: 'q' }
  const { room } = await chat.createRoom(identity)
  const roomId = room.id
  const stream = await run(deps, tokenOf('ann'), onRoomEvents, { roomId })
  const events: StreamEvent[] = []
  const typingUntilMessage = async () => {
    while (events.every(({ type }) => type !== 'message.created'))
      events.push(...((await stream.next()) ?? []))
    return events
      .splice(0)
      .flatMap((event) => (event.type === 'typing' ? [[event.userId, event.isTyping]] : []))
  }
  expect(await stream.next()).toMatchObject([{ type: 'ready' }, { type: 'presence' }])
  const start = (userId: string, side: boolean) =>
    chat.setTyping({ roomId, isTyping: true, userId, side })
  const send = (author: string, side: boolean) =>
    chat.createMessage({ roomId, messageData: 'text', side, author })

  // The customer of a room is one person, by whatever name.
  await start('ann', false)
  await start('u-1', true)
  await send('Ann Example', false)
  expect(await typingUntilMessage()).toEqual([
    ['ann', true],
    ['u-1', true],
    ['ann', false],
  ])
  // With an author who types, the others go on.
  await start('u-2', true)
  await send('u-2', true)
  expect(await typingUntilMessage()).toEqual([
    ['u-2', true],
    ['u-2', false],
  ])
  await send('Amara', true)
  expect(await typingUntilMessage()).toEqual([['u-1', false]])
  // A token names its user, so nobody else can be meant.
  await start('u-3', true)
  await createCaller({ ...createContext(deps), actor: tokenOf('amara') }).createMessage({
    roomId,
    messageData: 'text',
    side: true,
    author: 'amara',
  })
  expect(await typingUntilMessage()).toEqual([['u-3', true]])
  stream.leave()
  deps.live.close()
})
