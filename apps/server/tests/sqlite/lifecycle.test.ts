import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { describe, expect, test } from 'vitest'
import { allMessages, beginSend, openRoomAt, seqOf } from '../lifecycle.ts'
import {
  createFolder,
  refusal,
  type ServerProcess,
  spawnHere,
  startServer,
} from '../serverProcess.ts'
import { everySurface, surfaces } from '../surfaces.ts'

describe.concurrent('the write-ahead log is folded in', () => {
  test('by a server that stops while a request never ends', async () => {
    await using folder = await createFolder()
    const file = folder.file('chat.db')
    await using server = await startServer({ DATABASE_URL: `sqlite:${file}` })
    const slow = await beginSend(server, await openRoomAt(server))
    expect(existsSync(`${file}-wal`)).toBe(true)
    expect(await server.kill('SIGTERM')).toMatchObject({ code: 0 })
    await slow.answers()
    expect(existsSync(file)).toBe(true)
    expect(existsSync(`${file}-wal`)).toBe(false)
  })

  test('by a server that cannot listen', async () => {
    await using folder = await createFolder()
    await using taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    const file = folder.file('chat.db')
    await refusal({ PORT: `${port}`, DATABASE_URL: `sqlite:${file}` })
    expect(existsSync(file)).toBe(true)
    expect(existsSync(`${file}-wal`)).toBe(false)
  })
})

describe.concurrent('a server that cannot start says why in one sentence', () => {
  test('a folder that cannot be', async () => {
    await using folder = await createFolder()
    await writeFile(folder.file('plain'), 'a file')
    const said = await refusal({ DATABASE_URL: `sqlite:${folder.file('plain/below/chat.db')}` })
    expect(said).toContain(`cannot open the database ${folder.file('plain/below/chat.db')}: `)
    expect(said).toContain('is not a folder')
  })

  test('a file that is no database', async () => {
    await using folder = await createFolder()
    await writeFile(folder.file('chat.db'), 'a shopping list, and a long one at that\n'.repeat(50))
    const said = await refusal({ DATABASE_URL: `sqlite:${folder.file('chat.db')}` })
    expect(said).toContain('the file is not an SQLite database')
  })
})

test('several servers on one file: all come up on an empty one, and none loses a write', async () => {
  await using folder = await createFolder()
  const env = { DATABASE_URL: `sqlite:${folder.file('chat.db')}` }
  await using servers = new AsyncDisposableStack()
  const starting = Array.from({ length: 3 }, async () => servers.use(await startServer(env)))
  const urls = await Promise.all(starting)

  const rooms = await Promise.all(
    Array.from({ length: 30 }, (_, index) => openRoomAt(urls[index % 3] as ServerProcess)),
  )
  expect(new Set(rooms).size).toBe(1)
  const [room = ''] = rooms
  const answers = await Promise.all(
    Array.from({ length: 600 }, (_, index) => {
      const surface = everySurface[Math.trunc(index / 3) % 3] ?? 'v3'
      const server = urls[index % 3] as ServerProcess
      return surfaces[surface].say(server, { room, text: `message ${index}` })
    }),
  )
  const seqs = answers.map(seqOf)
  expect(seqs.toSorted((a, b) => a - b)).toEqual(seqs.map((_, index) => index + 1))
  for (const server of urls) {
    const stored = await allMessages(server, room)
    expect(stored.map(({ messageData }) => messageData)).toEqual(
      seqs.map((_, index) => `message ${seqs.indexOf(index + 1)}`),
    )
  }
  for (const server of urls) expect(await server.kill('SIGTERM')).toMatchObject({ code: 0 })
  expect(existsSync(folder.file('chat.db-wal'))).toBe(false)
})

test('a new file that several processes open at the same instant is opened by all', async () => {
  await using folder = await createFolder()
  // Each opens the same files at the same times; the clock is what they share.
  const opener = `
    import { openDatabase } from '@dowell-chat/db'
    process.stdin.once('data', async (start) => {
      for (let turn = 0; turn < 20; turn++) {
        while (Date.now() < Number(start) + 40 * turn) {}
        const database = openDatabase({ url: process.argv[1] + turn })
        await database.migrateToLatest()
        await database.close()
      }
      process.exit(0)
    })
    process.stdout.write('ready')`
  const openers = Array.from({ length: 3 }, () =>
    spawnHere(['--input-type=module', '--eval', opener, `sqlite:${folder.file('new')}`]),
  )
  await Promise.all(openers.map(({ child }) => once(child.stdout, 'data')))
  for (const { child } of openers) child.stdin.end(String(Date.now() + 100))
  for (const { ended } of openers) expect(await ended).toMatchObject({ code: 0, stderr: '' })
})
