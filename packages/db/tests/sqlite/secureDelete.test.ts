import { copyFileSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { sql } from 'kysely'
import { expect, onTestFinished, test, vi } from 'vitest'
import { LogCleaner } from '../../src/engine/sqlite/logCleaner.ts'
import {
  appendMessage,
  editMessage,
  insertRoom,
  nextPosition,
  openDatabase,
  saveOrganisationSettings,
  softDeleteMessage,
  type Transaction,
  updateRoomDetails,
} from '../../src/index.ts'
import { createTestDb, kyselyOn, type TestDatabase } from '../../src/testing.ts'
import { connect, createFolder, idOf, messageRow, roomRow } from '../support.ts'

test('deleted and replaced texts are no longer in the file', async () => {
  await using db = await createTestDb()
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

/** The texts of `<…>` in any file of a database's folder. */
function textsIn(location: string): Set<string> {
  const folder = dirname(location)
  return new Set(
    readdirSync(folder).flatMap((name) => {
      const bytes = readFileSync(join(folder, name), 'latin1')
      return bytes.match(/<[a-z]+>/g) ?? []
    }),
  )
}

async function fillRoom(db: TestDatabase, ...texts: string[]): Promise<void> {
  await db.write(async (tx) => {
    const position = await nextPosition(tx, 'last_room_position', { orgId, now: 1 })
    await insertRoom(tx, roomRow({ id: roomId, org_id: orgId, position, subject: '<subject>' }))
    for (const [index, message_data] of texts.entries()) {
      await appendMessage(tx, { orgId, roomId }, messageRow({ id: idOf(index + 1), message_data }))
    }
  })
}

const orgId = 'A'
const roomId = idOf(1)
const kept = { orgId, roomId, status: 'open', assignee: null, labels: '[]', now: 2 } as const
const ofMessage = (seq: number) => ({ orgId, roomId, seq, now: 2 })

const removals: [what: string, run: (tx: Transaction) => Promise<unknown>, gone: string][] = [
  ['a deleted message', (tx) => softDeleteMessage(tx, ofMessage(1)), '<first>'],
  [
    'an edited message',
    (tx) => editMessage(tx, { ...ofMessage(2), messageData: '<new>' }),
    '<second>',
  ],
  [
    'a replaced subject',
    (tx) => updateRoomDetails(tx, { ...kept, subject: '<new>', custom: '{}' }),
    '<subject>',
  ],
  [
    'replaced settings',
    (tx) => saveOrganisationSettings(tx, { orgId, version: 2, settings: '{}' }),
    '<settings>',
  ],
]

test.for(removals)(
  'the text of %s leaves every file of the folder while the server runs',
  async ([, run, gone]) => {
    await using db = await createTestDb()
    await fillRoom(db, '<first>', '<second>', '<third>')
    await db.write((tx) =>
      saveOrganisationSettings(tx, { orgId, version: 1, settings: '{"a":"<settings>"}' }),
    )
    expect(textsIn(db.location)).toContain(gone)
    await db.write(run)
    await expect.poll(() => textsIn(db.location)).not.toContain(gone)
    expect(textsIn(db.location)).toContain('<third>')
  },
)

test('a deleted text leaves the log as soon as the reader of another process allows it', async () => {
  await using db = await createTestDb()
  await fillRoom(db, '<first>', '<second>')
  using other = connect(db.location)
  other.exec('begin; select * from messages')
  let attempts = 0
  const attempted = new Promise<void>((resolve) => {
    const { schedule } = LogCleaner.prototype
    vi.spyOn(LogCleaner.prototype, 'schedule').mockImplementation(function (this: LogCleaner) {
      // By the write, and by each attempt that failed.
      if (++attempts === 3) resolve()
      schedule.call(this)
    })
  })
  onTestFinished(() => void vi.restoreAllMocks())
  await db.write((tx) => softDeleteMessage(tx, ofMessage(1)))
  await attempted
  expect(textsIn(db.location)).toContain('<first>')
  other.exec('commit')
  await expect.poll(() => textsIn(db.location)).not.toContain('<first>')
})

test('a text deleted before a crash leaves the log after the next start', async () => {
  await using db = await createTestDb()
  await fillRoom(db, '<first>', '<second>')
  await using folder = await createFolder()
  const file = join(folder.path, 'test.db')
  await db.write((tx) => softDeleteMessage(tx, ofMessage(1)))
  // What a killed process leaves.
  for (const part of ['', '-wal']) copyFileSync(db.location + part, file + part)
  expect(textsIn(file)).toContain('<first>')
  const next = openDatabase({ url: `sqlite:${file}` })
  onTestFinished(() => next.close())
  await next.migrateToLatest()
  await expect.poll(() => textsIn(file)).not.toContain('<first>')
  await next.close()
})

test('with checkpoints of another program the log is left to it', async () => {
  await using db = await createTestDb({ checkpoints: 'external' })
  const schedule = vi.spyOn(LogCleaner.prototype, 'schedule')
  onTestFinished(() => void vi.restoreAllMocks())
  await fillRoom(db, '<first>')
  await db.write((tx) => softDeleteMessage(tx, ofMessage(1)))
  for (let i = 0; i < 3; i++) {
    // More than 4,000 pages, at which SQLite's own checkpoint begins.
    await db.write((tx) =>
      sql`create table ${sql.raw(`t${i}`)} as select zeroblob(8000000) as data`.execute(
        kyselyOn(tx),
      ),
    )
  }
  expect(schedule).not.toHaveBeenCalled()
  expect(statSync(`${db.location}-wal`).size).toBeGreaterThan(24_000_000)
})
