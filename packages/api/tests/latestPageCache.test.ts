import { type Database, openDatabase } from '@dowell-chat/db'
import { createTestDb, kyselyOn, runs } from '@dowell-chat/db/testing'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Actor } from '../src/auth/actor.ts'
import { createMessage } from '../src/messages/createMessage.ts'
import { deleteMessage } from '../src/messages/deleteMessage.ts'
import { getMessages } from '../src/messages/getMessages.ts'
import { LatestPageCache } from '../src/messages/latestPageCache.ts'
import { updateMessage } from '../src/messages/updateMessage.ts'
import type { Context } from '../src/operation/context.ts'
import { execute } from '../src/operation/execute.ts'
import { createRoom } from '../src/rooms/createRoom.ts'
import { deleteRoom } from '../src/rooms/deleteRoom.ts'
import { updateRoom } from '../src/rooms/updateRoom.ts'
import { type V2Operation, v2Operations } from '../src/v2/operations.ts'
import { createContext, createDeps, run } from './support.ts'

const ORG = 'DOWELL12345'

function serverOn(db: Database, maxBytes: number): Context {
  return createContext({ ...createDeps(db), latestPages: new LatestPageCache(maxBytes) })
}

async function roomsIn({ deps, actor }: Context, users: readonly string[]): Promise<string[]> {
  const opened = await Promise.all(
    users.map((userId) =>
      run(deps, actor, createRoom, { orgId: ORG, userId, portfolioName: 'p', productName: 'q' }),
    ),
  )
  return opened.map(({ room }) => room.id)
}

const messagesV2 = v2Operations.find(({ name }) => name === 'getMessages') as V2Operation

/** Reads a room's newest page over every surface as this caller; the error code if it is refused. */
async function readAs(server: Context, actor: Actor, roomId: string, limit: number) {
  const ctx = { ...server, actor }
  const plain = run(ctx.deps, actor, getMessages, { roomId, limit })
  const v2 = execute(ctx, messagesV2, () => ({ room_id: roomId, limit }))
  const [ours, documented] = await Promise.allSettled([plain, v2])
  return [ours, documented].map((one) =>
    one.status === 'fulfilled' ? structuredClone(one.value) : one.reason.code,
  )
}

const callers: readonly Actor[] = [
  { kind: 'open', via: 'http' },
  { kind: 'key', orgId: ORG, keyId: '0'.repeat(24), right: 'read' },
  { kind: 'key', orgId: 'another', keyId: '1'.repeat(24), right: 'admin' },
  {
    ...{ kind: 'user', orgId: ORG, userId: 'a', side: false, rooms: undefined },
    ...{ keyId: undefined, expiresAt: Number.MAX_SAFE_INTEGER },
    token: { signingKeyId: 'signing key', issuedAt: 0 },
  },
]

const room = fc.nat(1)
const text = fc.string({ minLength: 1, unit: fc.constantFrom('a', 'b', 'ü') })
const step = fc.oneof(
  fc.record({ kind: fc.constant('write' as const), room, server: fc.nat(2), text }),
  // `which` selects one of the existing messages, if any.
  fc.record({
    kind: fc.constantFrom('edit' as const, 'remove' as const, 'describe' as const),
    ...{ room, server: fc.nat(2), text, which: fc.nat(4) },
  }),
  fc.record({
    kind: fc.constant('delete' as const),
    room,
    server: fc.nat(2),
    isActive: fc.boolean(),
  }),
  fc.record({
    ...{ kind: fc.constant('read' as const), room, server: fc.nat(2) },
    ...{ caller: fc.nat(callers.length - 1), limit: fc.constantFrom(1, 2, 50) },
  }),
)

describe('a cached page', () => {
  test('equals the page in the database, for each caller and on every server', async () => {
    await fc.assert(
      fc.asyncProperty(
        // The steps of an inner list run concurrently, the lists one after another.
        fc.array(fc.array(step, { maxLength: 4 }), { maxLength: 6 }),
        async (rounds) => {
          await using db = await createTestDb()
          const other = openDatabase({ url: db.url })
          try {
            // One server with a large cache, one with a small cache, and one without.
            const servers = [serverOn(db, 1_000_000), serverOn(other, 100_000), serverOn(other, 1)]
            const [first, , uncached] = servers as [Context, Context, Context]
            const rooms = await roomsIn(first, ['a', 'b'])
            for (const round of rounds) {
              await Promise.all(
                round.map(async (one) => {
                  const server = servers[one.server] as Context
                  const roomId = rooms[one.room] as string
                  const { deps, actor } = server
                  if (one.kind === 'read') {
                    await readAs(server, callers[one.caller] as Actor, roomId, one.limit)
                  } else if (one.kind === 'delete') {
                    await run(deps, actor, deleteRoom, { roomId, isActive: one.isActive })
                  } else if (one.kind === 'describe') {
                    await run(deps, actor, updateRoom, { roomId, subject: one.text })
                  } else if (one.kind === 'edit' || one.kind === 'remove') {
                    const { items } = await run(uncached.deps, actor, getMessages, { roomId })
                    const messageId = items[one.which]?.id
                    if (messageId === undefined) return
                    const message = { roomId, messageId }
                    const change =
                      one.kind === 'remove'
                        ? run(deps, actor, deleteMessage, message)
                        : run(deps, actor, updateMessage, { ...message, messageData: one.text })
                    await change.catch((error: unknown) =>
                      expect(['ROOM_CLOSED', 'MESSAGE_DELETED']).toContain(
                        (error as { code?: string }).code,
                      ),
                    )
                  } else {
                    await run(deps, actor, createMessage, {
                      ...{ roomId, messageData: one.text, side: true, author: 'a' },
                      messageType: 'text',
                    }).catch((error: unknown) =>
                      expect(error).toMatchObject({ code: 'ROOM_CLOSED' }),
                    )
                  }
                }),
              )
              for (const roomId of rooms) {
                for (const caller of callers) {
                  for (const limit of [1, 2, 50]) {
                    const expected = await readAs(uncached, caller, roomId, limit)
                    for (const server of servers) {
                      expect(await readAs(server, caller, roomId, limit)).toEqual(expected)
                    }
                  }
                }
              }
            }
          } finally {
            await other.close()
          }
        },
      ),
      { numRuns: runs(25, 10) },
    )
  })

  test('has every message that was acknowledged before the read', async () => {
    await using db = await createTestDb()
    const { deps, actor } = serverOn(db, 1_000_000)
    const [roomId = ''] = await roomsIn(createContext(deps), ['a'])
    let acknowledged = 0
    const write = async (text: string) => {
      const message = { roomId, messageData: text, side: true, author: 'a', messageType: 'text' }
      const { message: stored } = await run(deps, actor, createMessage, message)
      acknowledged = Math.max(acknowledged, stored.seq)
    }
    const read = async () => {
      const before = acknowledged
      const { items } = await run(deps, actor, getMessages, { roomId })
      expect(items.at(-1)?.seq ?? 0).toBeGreaterThanOrEqual(before)
    }
    for (let i = 0; i < 50; i++) {
      await Promise.all([read(), write(`${i}`), read(), write(`${i}`), read()])
    }
    expect(acknowledged).toBe(100)
  })

  test('is the same frozen object until the room changes', async () => {
    await using db = await createTestDb()
    const { deps, actor } = serverOn(db, 1_000_000)
    const [roomId = ''] = await roomsIn(createContext(deps), ['a'])
    const page = await run(deps, actor, getMessages, { roomId })
    expect(await run(deps, actor, getMessages, { roomId })).toBe(page)
    expect(Object.isFrozen(page) && Object.isFrozen(page.items)).toBe(true)
    expect(await run(deps, actor, getMessages, { roomId, limit: 1 })).not.toBe(page)
    await run(deps, actor, deleteRoom, { roomId })
    expect(await run(deps, actor, getMessages, { roomId })).not.toBe(page)
  })

  test('is not used for a version that a failover repeated', async () => {
    await using db = await createTestDb()
    let now = 1_000
    const server = serverOn(db, 1_000_000)
    const deps = { ...server.deps, clock: () => now }
    const { actor } = server
    const [roomId = ''] = await roomsIn(createContext(deps), ['a'])
    const write = (messageData: string) => {
      now += 1_000
      const from = { side: true, author: 'a', messageType: 'text' }
      return run(deps, actor, createMessage, { roomId, messageData, ...from })
    }
    const read = async () =>
      (await run(deps, actor, getMessages, { roomId })).items.map(({ messageData }) => messageData)
    await write('kept')
    const before = await kyselyOn(db.read).selectFrom('rooms').selectAll().executeTakeFirstOrThrow()
    await write('lost')
    expect(await read()).toEqual(['kept', 'lost'])
    await db.write(async (tx) => {
      await kyselyOn(tx).deleteFrom('messages').where('seq', '>', before.last_seq).execute()
      await kyselyOn(tx).updateTable('rooms').set(before).execute()
    })
    await write('new')
    expect(await read()).toEqual(['kept', 'new'])
  })

  test('is evicted when the cache is full', async () => {
    await using db = await createTestDb()
    const { deps, actor } = serverOn(db, 64_000)
    const rooms = await roomsIn(
      createContext(deps),
      Array.from({ length: 100 }, (_, i) => `${i}`),
    )
    const [roomId = ''] = rooms
    const page = await run(deps, actor, getMessages, { roomId })
    for (const other of rooms.slice(1)) await run(deps, actor, getMessages, { roomId: other })
    expect(await run(deps, actor, getMessages, { roomId })).not.toBe(page)
  })
})
