import { createTestDb } from '@dowell-chat/db/testing'
import { expect, test } from 'vitest'
import { createMessage } from '../src/messages/createMessage.ts'
import { deleteMessage } from '../src/messages/deleteMessage.ts'
import { getMessages } from '../src/messages/getMessages.ts'
import { updateMessage } from '../src/messages/updateMessage.ts'
import { markRead } from '../src/reading/markRead.ts'
import { createRoom } from '../src/rooms/createRoom.ts'
import { deleteRoom } from '../src/rooms/deleteRoom.ts'
import { getRoomById } from '../src/rooms/getRoomById.ts'
import { updateRoom } from '../src/rooms/updateRoom.ts'
import { createDeps, run } from './support.ts'

const open = { kind: 'open', via: 'cli' } as const
const CREATED = new Date(1_790_000_000_000)
const DAY_MS = 24 * 60 * 60_000

test('no time of a change precedes the creation, after the clock was put back by a day', async () => {
  await using db = await createTestDb()
  const deps = { ...createDeps(db), clock: () => CREATED.getTime() }
  const late = { ...deps, clock: () => CREATED.getTime() - DAY_MS }
  const orgId = 'DOWELL12345'
  const { room } = await run(deps, open, createRoom, {
    orgId,
    userId: 'ABCD12345',
    portfolioName: 'umair',
    productName: 'WIFIQRCODE',
  })
  const roomId = room.id
  const text = { messageData: 'text', side: false, author: 'ABCD12345' } as const
  const updatedAt = async () => (await run(deps, open, getRoomById, { roomId })).updatedAt
  const { message } = await run(deps, open, createMessage, { roomId, ...text })
  await run(late, open, createMessage, { roomId, ...text })
  expect(await updatedAt()).toEqual(CREATED)

  const edited = await run(late, open, updateMessage, {
    roomId,
    messageId: message.id,
    messageData: 'new',
  })
  expect(edited.editedAt).toEqual(CREATED)
  const deleted = await run(late, open, deleteMessage, { roomId, messageId: message.id })
  expect(deleted.deletedAt).toEqual(CREATED)
  expect(await updatedAt()).toEqual(CREATED)
  expect((await run(late, open, updateRoom, { roomId, subject: 'new' })).updatedAt).toEqual(CREATED)
  const reader = { roomId, readerId: 'ABCD12345', readerSide: false } as const
  const first = await run(deps, open, markRead, { ...reader, seq: 1 })
  expect(first.marker.updatedAt).toEqual(CREATED)
  expect((await run(late, open, markRead, { ...reader, seq: 2 })).marker.updatedAt).toEqual(CREATED)
  await run(late, open, deleteRoom, { roomId })
  expect(await updatedAt()).toEqual(CREATED)

  const { items } = await run(deps, open, getMessages, { roomId })
  for (const { createdAt, editedAt, deletedAt } of items) {
    for (const time of [editedAt, deletedAt]) {
      if (time) expect(time.getTime()).toBeGreaterThanOrEqual(createdAt.getTime())
    }
  }
})
