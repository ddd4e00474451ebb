import { chmodSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { createDowellChat } from '@dowell-chat/client'
import { createTestStore } from '@dowell-chat/db/testing'
import Sqlite from 'better-sqlite3'
import { expect, test } from 'vitest'
import { EventReader } from '../eventReader.ts'
import { cliWith, startServer } from '../serverProcess.ts'

const ORG = 'DOWELL12345'
const inbox = `/api/v3/events?orgId=${ORG}`

test('after a restore no reader misses a message in silence, whatever cursor it has', async () => {
  await using store = await createTestStore()
  const env = { DATABASE_URL: store.url }
  const file = store.url.slice('sqlite:'.length)
  await using first = await startServer(env)
  const chat = createDowellChat({ url: first.url })
  const openRoom = async (userId: string) =>
    (await chat.createRoom({ userId, orgId: ORG, portfolioName: 'p', productName: 'q' })).room.id
  const roomId = await openRoom('ann')
  const send = async (...texts: string[]) => {
    for (const messageData of texts) {
      await chat.createMessage({ roomId, messageData, side: false, author: 'ann' })
    }
  }
  await send('1', '2', '3')
  const copy = `${file}.copy`
  const connection = new Sqlite(file)
  await connection.backup(copy)
  connection.close()
  await openRoom('bob')
  await send('lost 4', 'lost 5', 'lost 6')

  // A reader of each kind has read everything.
  const events = await chat.listEvents({ orgId: ORG })
  expect(events.items.at(-1)?.position).toBe(8)
  const messages = await chat.getMessages({ roomId })
  const rooms = await chat.listRooms({ orgId: ORG })
  const shown: string[] = []
  const stop = chat.room(roomId, { readerId: 'ann', readerSide: false }).subscribe({
    onEvent(event) {
      if (event.type === 'snapshot') {
        shown.splice(0, shown.length, ...event.messages.items.map((item) => item.messageData))
      }
      if (event.type === 'message.created') shown.push(event.message.messageData)
    },
    onError(error) {
      throw error
    },
  })
  await expect.poll(() => shown).toHaveLength(6)
  await first.kill('SIGKILL')

  const restored = await cliWith(env, 'restore', '--from', copy)
  expect(restored).toMatchObject({ code: 0, stderr: '' })
  await using second = await startServer({ ...env, PORT: new URL(first.url).port })
  expect(second.url).toBe(first.url)
  const added = ['a', 'b', 'c', 'd', 'e', 'f']
  await send(...added)
  const now = await chat.listEvents({ orgId: ORG, after: 'now' })

  for (const headers of [{ 'last-event-id': events.after }, {}]) {
    const query = 'last-event-id' in headers ? '' : `&after=${events.after}`
    await using reader = await EventReader.open(second, inbox + query, headers)
    expect(await reader.next()).toMatchObject({
      type: 'reset',
      reason: 'unknown',
      position: 10,
      cursor: now.after,
    })
  }
  const tooOld = { code: 'CURSOR_TOO_OLD', status: 409 }
  await expect(chat.listEvents({ orgId: ORG, after: events.after })).rejects.toMatchObject(tooOld)
  for (const page of ['before', 'after', 'around'] as const) {
    const cursorOf = (list: { before: string; after: string }) =>
      page === 'around' ? list.after : list[page]
    await expect(
      chat.getMessages({ roomId, [page]: cursorOf(messages) }),
      page,
    ).rejects.toMatchObject(tooOld)
    await expect(
      chat.listRooms({ orgId: ORG, [page]: cursorOf(rooms) }),
      page,
    ).rejects.toMatchObject(tooOld)
  }
  const v2 = `/api/v2/room-service/?type=get_messages&room_id=${roomId}&after=${messages.after}`
  expect((await fetch(second.url + v2)).status).toBe(409)

  // What the client shows is what there is.
  await expect.poll(() => shown).toEqual(['1', '2', '3', ...added])
  stop()
  // The new cursors work.
  const page = await chat.getMessages({ roomId, limit: 2 })
  await send('g')
  expect((await chat.getMessages({ roomId, after: page.after })).items).toMatchObject([
    { messageData: 'g' },
  ])
  const snapshot = await chat.getRoomSnapshot({ roomId, limit: 1 })
  const earlier = await chat.getMessages({ roomId, before: snapshot.messages.before, limit: 1 })
  expect(earlier.items).toMatchObject([{ messageData: 'f' }])
  expect(
    await chat.listRooms({ orgId: ORG, after: rooms.after.concat('x') }).catch(String),
  ).toMatch(/valid|cursor/i)
})

test('a restore refuses a file that is no database, and leaves the present one in place', async () => {
  await using store = await createTestStore()
  const env = { DATABASE_URL: store.url }
  const file = store.url.slice('sqlite:'.length)
  const made = await cliWith(env, 'keys', 'create', '--org', ORG, '--right', 'read')
  expect(made.code).toBe(0)
  const refused = await cliWith(env, 'restore', '--from', import.meta.filename)
  expect(refused).toMatchObject({ code: 1, stdout: '' })
  expect(refused.stderr).not.toBe('')
  const connection = new Sqlite(file)
  expect(connection.prepare('select count(*) as keys from api_keys').get()).toEqual({ keys: 1 })
  connection.close()
})

/** A database with an API key in its -wal only. The connection keeps it there. */
async function withKey(url: string) {
  const file = url.slice('sqlite:'.length)
  const made = await cliWith(
    { DATABASE_URL: url },
    'keys',
    'create',
    '--org',
    ORG,
    '--right',
    'read',
  )
  expect(made.code).toBe(0)
  const connection = new Sqlite(file)
  connection.pragma('journal_mode = wal')
  connection.prepare("update api_keys set name = 'in the -wal'").run()
  return { file, [Symbol.dispose]: () => connection.close() }
}

function keyNames(file: string): unknown[] {
  const connection = new Sqlite(file, { readonly: true })
  const names = connection.prepare('select name from api_keys').pluck().all()
  connection.close()
  return names
}

test('a restore brings what is in the -wal of its source, and keeps the mode of the file', async () => {
  await using source = await createTestStore()
  await using target = await createTestStore()
  using from = await withKey(source.url)
  const file = target.url.slice('sqlite:'.length)
  const env = { DATABASE_URL: target.url }
  expect((await cliWith(env, 'keys', 'list', '--org', ORG)).code).toBe(0)
  chmodSync(file, 0o640)
  // What a restore that was killed left.
  writeFileSync(`${file}.restoring-wal`, 'of another copy')
  const restored = await cliWith(env, 'restore', '--from', from.file)
  expect(restored).toMatchObject({ code: 0, stderr: '' })
  expect(keyNames(file)).toEqual(['in the -wal'])
  expect(statSync(file).mode & 0o777).toBe(0o640)
  expect(readdirSync(dirname(file)).filter((name) => name.includes('restoring'))).toEqual([])
})

test('a restore refuses a database in use, its own file, a folder and the database of another program', async () => {
  await using source = await createTestStore()
  await using target = await createTestStore()
  using from = await withKey(source.url)
  using to = await withKey(target.url)
  const env = { DATABASE_URL: target.url }
  const foreign = `${to.file}.foreign`
  const other = new Sqlite(foreign)
  other.exec('create table foo (a)')
  other.close()
  const refusals = [
    [from.file, 'in use'],
    [to.file, 'leave out --from'],
    [dirname(to.file), 'no database'],
    [foreign, 'no database of this server'],
  ] as const
  for (const [path, reason] of refusals) {
    const refused = await cliWith(env, 'restore', '--from', path)
    expect(refused, path).toMatchObject({ code: 1, stdout: '' })
    expect(refused.stderr, path).toContain(reason)
    expect(refused.stderr, path).not.toContain('    at ')
  }
  expect(keyNames(to.file)).toEqual(['in the -wal'])
})
