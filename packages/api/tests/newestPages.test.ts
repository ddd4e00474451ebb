import { type Database, openDatabase } from '@dowell-chat/db'
import { createTestDb, kyselyOn, runs } from '@dowell-chat/db/testing'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Actor } from '../src/auth/actor.ts'
import type { Context } from '../src/context.ts'
import { createMessage } from '../src/messages/createMessage.ts'
import { deleteMessage } from '../src/messages/deleteMessage.ts'
import { getMessages } from '../src/messages/getMessages.ts'
import { NewestPages } from '../src/messages/newestPages.ts'
import { updateMessage } from '../src/messages/updateMessage.ts'
import { callV2 } from '../src/rest/v2/call.ts'
import { type V2Operation, v2Operations } from '../src/rest/v2/operations.ts'
import { createRoom } from '../src/rooms/createRoom.ts'
import { deleteRoom } from '../src/rooms/deleteRoom.ts'
import { updateRoom } from '../src/rooms/updateRoom.ts'
import { createContext, createDeps } from './support.ts'

const ORG = 'DOWELL12345'

function serverOn(db: Database, maxBytes: number): Context {
  return createContext({ ...createDeps(db), newestPages: new NewestPages(maxBytes) })
}

async function roomsIn({ deps, actor }: Context, users: readonly string[]): Promise<string[]> {
  const opened = await Promise.all(
    users.map((userId) =>
      createRoom(deps, actor, { orgId: ORG, userId, portfolioName: 'p', productName: 'q' }),
    ),
  )
  return opened.map(({ room }) => room.id)
}

const messagesV2 = v2Operations.find(({ name }) => name === 'getMessages') as V2Operation

/** A room's newest page on every surface, as this caller gets it; how it is refused otherwise. */
async function readAs(server: Context, actor: Actor, roomId: string, limit: number) {
  const ctx = { ...server, actor }
  const plain = getMessages(ctx.deps, actor, { roomId, limit })
  const v2 = callV2(ctx, messagesV2, { room_id: roomId, limit })
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
  },
]

const room = fc.nat(1)
const text = fc.string({ minLength: 1, unit: fc.constantFrom('a', 'b', 'ü') })
const step = fc.oneof(
  fc.record({ kind: fc.constant('write' as const), room, server: fc.nat(2), text }),
  // One of the messages that there are, as far as there are any.
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

describe('a kept page', () => {
  test('is always what the database would answer, for each caller and on every server', async () => {
    await fc.assert(
      fc.asyncProperty(
        // The steps of a list happen at once, the lists one after another.
        fc.array(fc.array(step, { maxLength: 4 }), { maxLength: 6 }),
        async (rounds) => {
          await using db = await createTestDb()
          const other = openDatabase({ url: db.url })
          try {
            // Two servers that keep pages, one of them hardly any, and one that keeps none.
            const servers = [serverOn(db, 1_000_000), serverOn(other, 100_000), serverOn(other, 1)]
            const [first, , bare] = servers as [Context, Context, Context]
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
                    await deleteRoom(deps, actor, { roomId, isActive: one.isActive })
                  } else if (one.kind === 'describe') {
                    await updateRoom(deps, actor, { roomId, subject: one.text })
                  } else if (one.kind === 'edit' || one.kind === 'remove') {
                    const { items } = await getMessages(bare.deps, actor, { roomId })
                    const messageId = items[one.which]?.id
                    if (messageId === undefined) return
                    const message = { roomId, messageId }
                    const change =
                      one.kind === 'remove'
                        ? deleteMessage(deps, actor, message)
                        : updateMessage(deps, actor, { ...message, messageData: one.text })
                    await change.catch((error: unknown) =>
                      expect(['ROOM_CLOSED', 'MESSAGE_DELETED']).toContain(
                        (error as { code?: string }).code,
                      ),
                    )
                  } else {
                    await createMessage(deps, actor, {
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
                    const right = await readAs(bare, caller, roomId, limit)
                    for (const server of servers) {
                      expect(await readAs(server, caller, roomId, limit)).toEqual(right)
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

  test('never misses what was acknowledged before it was asked for', async () => {
    await using db = await createTestDb()
    const { deps, actor } = serverOn(db, 1_000_000)
    const [roomId = ''] = await roomsIn(createContext(deps), ['a'])
    let acknowledged = 0
    const write = async (text: string) => {
      const message = { roomId, messageData: text, side: true, author: 'a', messageType: 'text' }
      const { message: stored } = await createMessage(deps, actor, message)
      acknowledged = Math.max(acknowledged, stored.seq)
    }
    const read = async () => {
      const before = acknowledged
      const { items } = await getMessages(deps, actor, { roomId })
      expect(items.at(-1)?.seq ?? 0).toBeGreaterThanOrEqual(before)
    }
    for (let i = 0; i < 50; i++) {
      await Promise.all([read(), write(`${i}`), read(), write(`${i}`), read()])
    }
    expect(acknowledged).toBe(100)
  })

  test('is the same object while nothing changes, and cannot be changed', async () => {
    await using db = await createTestDb()
    const { deps, actor } = serverOn(db, 1_000_000)
    const [roomId = ''] = await roomsIn(createContext(deps), ['a'])
    const page = await getMessages(deps, actor, { roomId })
    expect(await getMessages(deps, actor, { roomId })).toBe(page)
    expect(Object.isFrozen(page) && Object.isFrozen(page.items)).toBe(true)
    expect(await getMessages(deps, actor, { roomId, limit: 1 })).not.toBe(page)
    await deleteRoom(deps, actor, { roomId })
    expect(await getMessages(deps, actor, { roomId })).not.toBe(page)
  })

  test('is not taken for the page of a version that a failover lost and that was given again', async () => {
    await using db = await createTestDb()
    let now = 1_000
    const server = serverOn(db, 1_000_000)
    const deps = { ...server.deps, clock: () => now }
    const { actor } = server
    const [roomId = ''] = await roomsIn(createContext(deps), ['a'])
    const write = (messageData: string) => {
      now += 1_000
      const from = { side: true, author: 'a', messageType: 'text' }
      return createMessage(deps, actor, { roomId, messageData, ...from })
    }
    const read = async () =>
      (await getMessages(deps, actor, { roomId })).items.map(({ messageData }) => messageData)
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

  test('goes when others need the room', async () => {
    await using db = await createTestDb()
    const { deps, actor } = serverOn(db, 64_000)
    const rooms = await roomsIn(
      createContext(deps),
      Array.from({ length: 100 }, (_, i) => `${i}`),
    )
    const [roomId = ''] = rooms
    const page = await getMessages(deps, actor, { roomId })
    for (const other of rooms.slice(1)) await getMessages(deps, actor, { roomId: other })
    expect(await getMessages(deps, actor, { roomId })).not.toBe(page)
  })
})
