import { expect, test } from 'vitest'
import type { UserActor } from '../src/auth/actor.ts'
import { createLive, createLog, take } from './log.ts'

const token = { signingKeyId: 'signing key', issuedAt: 0 }
const person = { kind: 'user', orgId: 'A', rooms: undefined, keyId: undefined, token } as const
const expiresAt = Number.MAX_SAFE_INTEGER
const customer: UserActor = { ...person, userId: 'ann', side: false, expiresAt }
const supporter: UserActor = { ...person, userId: 'sue', side: true, expiresAt }

test('readers who see the same share one event object, so that it is encoded once', async () => {
  await using log = await createLog()
  const [room] = log.rooms
  if (!room) throw new Error('no room')
  for (const hides of [true, false]) {
    using live = createLive(log, {
      hiddenFromCustomers: async () => (hides ? { custom: '{"hidden":true}' } : {}),
    })
    const streams = [customer, customer, supporter, supporter].map((actor) =>
      live.open(actor, { orgId: 'A', userId: 'ann' }),
    )
    for (const stream of streams) await take(stream)
    await log.append(room, room, room)
    const told = []
    for (const stream of streams) {
      const events = []
      while (events.length < 3) events.push(...(await take(stream)))
      told.push(events)
    }
    const [one, two, three, four] = told
    for (const [index, event] of (one ?? []).entries()) {
      expect(event).toBe(two?.[index])
      expect(three?.[index]).toBe(four?.[index])
      const hasRoom = 'room' in event
      expect(event === three?.[index]).toBe(!(hides && hasRoom))
    }
  }
})
