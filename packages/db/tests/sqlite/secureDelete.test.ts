import { readdirSync, readFileSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { expect, test } from 'vitest'
import {
  appendMessage,
  editMessage,
  insertRoom,
  nextPosition,
  softDeleteMessage,
  updateRoomDetails,
} from '../../src/index.ts'
import { createTestDb } from '../../src/testing.ts'
import { idOf, messageRow, roomRow } from '../support.ts'

test('deleted and replaced texts are no longer in the file', async () => {
  await using db = await createTestDb()
  const orgId = 'A'
  const roomId = idOf(1)
  await db.write(async (tx) => {
    const position = await nextPosition(tx, 'last_room_position', { orgId, now: 1 })
    await insertRoom(tx, roomRow({ id: roomId, org_id: orgId, position }))
  })
  // A short text, one of most of a page, and one of several pages.
  const texts = [2, 200, 1000].flatMap((times) =>
    ['kept', 'deleted', 'edited'].map((fate) => ({
      fate,
      text: `<${fate} ${times}>`.repeat(times),
    })),
  )
  for (const { text } of texts) {
    await db.write(async (tx) => {
      const row = messageRow({ id: idOf(texts.findIndex((one) => one.text === text) + 1) })
      await appendMessage(tx, { orgId, roomId }, { ...row, message_data: text })
    })
  }
  const details = { orgId, roomId, status: 'open', assignee: null, labels: '[]', now: 2 } as const
  const describe = (subject: string, custom: string) =>
    db.write((tx) => updateRoomDetails(tx, { ...details, subject, custom }))
  await describe('<deleted 3>', JSON.stringify({ a: '<deleted 4>'.repeat(300) }))
  await describe('<kept 3>', '{}')
  for (const [index, { fate }] of texts.entries()) {
    const message = { orgId, roomId, seq: index + 1, now: 2 }
    if (fate === 'deleted') await db.write((tx) => softDeleteMessage(tx, message))
    if (fate === 'edited') {
      await db.write((tx) => editMessage(tx, { ...message, messageData: 'new' }))
    }
  }

  await db.close()
  expect(readdirSync(dirname(db.location))).toEqual([basename(db.location)])
  const file = readFileSync(db.location, 'latin1')
  const found = new Set(file.match(/<(?:kept|deleted|edited) \d+>/g))
  expect(found).toEqual(new Set(['<kept 2>', '<kept 200>', '<kept 1000>', '<kept 3>']))
})
