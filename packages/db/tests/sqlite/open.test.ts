import { existsSync, readdirSync, readlinkSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import Sqlite from 'better-sqlite3'
import { sql } from 'kysely'
import { expect, onTestFinished, test, vi } from 'vitest'
import {
  allOrganisations,
  DatabaseError,
  findRoom,
  nextPosition,
  openDatabase,
} from '../../src/index.ts'
import { createTestDb, kyselyOn } from '../../src/testing.ts'
import { connect, createFolder, idOf, roomRow } from '../support.ts'

function refusalOf(url: string): DatabaseError {
  try {
    openDatabase({ url })
  } catch (error) {
    expect(error).toBeInstanceOf(DatabaseError)
    return error as DatabaseError
  }
  throw new Error(`${url} was opened`)
}

test.for([
  'mysql://secret@host/chat',
  'POSTGRES:secret',
  ':secret@host',
  '//user:secret@host/chat',
  'secret',
  'secret.db',
  '../data/secret.db',
  '',
  'sqlite',
  'sqlite:',
  'sqlite://',
  'sqlite://data/secret.db',
  'sqlite://./secret.db',
  'file://host/secret.db',
  'sqlite::memory:',
  'sqlite::memory:?cache=shared&secret',
])('%j is not a database URL, and the refusal does not repeat it', (url) => {
  const { reason, message } = refusalOf(url)
  expect(reason).toBe('bad-url')
  expect(message).toMatch(/^DATABASE_URL must be "sqlite:" and the path of a file, for example /)
  expect(message).not.toMatch(/secret|user|host/)
})

test('a refusal names the kind of database that is not supported', () => {
  expect(refusalOf('mysql://user:secret@host/chat').message).toContain('"mysql:"')
  expect(refusalOf('sqlite://data/chat.db').message).not.toContain('not supported')
})

test.for([
  ['sqlite:', ''],
  ['sqlite://', ''],
  ['file:', ''],
  ['file://', ''],
  ['sqlite:', 'with space, ümlaut and ? # %20'],
] as const)(
  'opens %s and a path (%s), and creates the folders that are missing',
  async ([scheme, name]) => {
    await using folder = await createFolder()
    const file = join(folder.path, 'a', 'b', `${name}.db`)
    const db = openDatabase({ url: `${scheme}${file}` })
    expect(db.location).toBe(file)
    await db.ping()
    await db.close()
    expect(existsSync(file)).toBe(true)
  },
)

test('a relative path starts at the working directory', async () => {
  await using folder = await createFolder()
  const file = join(folder.path, 'data', 'test.db')
  const path = relative(process.cwd(), file)
  const db = openDatabase({ url: `sqlite:${path}` })
  expect(db.location).toBe(file)
  await db.close()
  expect(existsSync(file)).toBe(true)
})

test('opens a file that it created before, with its data', async () => {
  await using db = await createTestDb()
  await db.write((tx) =>
    sql`insert into signing_keys values ('id', 'secret', 7)`.execute(kyselyOn(tx)),
  )
  await db.close()
  const again = openDatabase({ url: db.url })
  const rows = await kyselyOn(again.read).selectFrom('signing_keys').select('created_at').execute()
  await again.close()
  expect(rows).toEqual([{ created_at: 7 }])
})

test('opens a file whose write lock another process holds', async () => {
  await using db = await createTestDb()
  using other = connect(db.location)
  other.exec('begin immediate')
  const second = openDatabase({ url: db.url })
  await second.ping()
  await second.close()
})

test('a folder is refused as a database', async () => {
  await using folder = await createFolder()
  const { reason, message } = refusalOf(`sqlite:${folder.path}`)
  expect(reason).toBe('cannot-open')
  expect(message).toContain(folder.path)
})

test('nothing is opened below a regular file', async () => {
  await using folder = await createFolder()
  const file = join(folder.path, 'file')
  await writeFile(file, 'text')
  for (const path of [join(file, 'test.db'), join(file, 'deeper', 'test.db')]) {
    const { reason, message } = refusalOf(`sqlite:${path}`)
    expect(reason).toBe('cannot-open')
    expect(message).toMatch(/is not a folder$/)
  }
})

test('a path that no file can have is refused', async () => {
  await using folder = await createFolder()
  const path = join(folder.path, `${'long'.repeat(100)}.db`)
  expect(refusalOf(`sqlite:${path}`).reason).toBe('cannot-open')
})

test('another kind of file is refused, left unchanged and closed', async () => {
  await using folder = await createFolder()
  const file = join(folder.path, 'letter.txt')
  await writeFile(file, 'Dear customer, '.repeat(500))
  const { reason, message } = refusalOf(`sqlite:${file}`)
  expect(reason).toBe('cannot-open')
  expect(message).toMatch(/the file is not an SQLite database$/)
  expect(readdirSync(folder.path)).toEqual(['letter.txt'])
  expect(openFiles().filter((open) => open.startsWith(folder.path))).toEqual([])
})

test('a damaged database is refused when it is opened or first read', async () => {
  await using folder = await createFolder()
  const file = join(folder.path, 'test.db')
  await writeFile(file, Buffer.concat([Buffer.from('SQLite format 3\0'), Buffer.alloc(4096, 7)]))
  expect(refusalOf(`sqlite:${file}`).reason).toBe('cannot-open')
})

test('closing leaves one file and no open connection, also when nothing was read or written', async () => {
  for (const use of [
    async () => {},
    (db: ReturnType<typeof openDatabase>) => db.ping(),
    (db: ReturnType<typeof openDatabase>) => db.migrateToLatest(),
    async (db: ReturnType<typeof openDatabase>) => {
      await db.migrateToLatest()
      await db.ping()
    },
  ]) {
    await using folder = await createFolder()
    const db = openDatabase({ url: `sqlite:${join(folder.path, 'test.db')}` })
    await use(db)
    await db.close()
    await db.close()
    expect(readdirSync(folder.path)).toEqual(['test.db'])
    expect(openFiles().filter((open) => open.startsWith(folder.path))).toEqual([])
  }
})

/** The files that this process holds open; none if the system has no list of them. */
function openFiles(): string[] {
  if (!existsSync('/proc/self/fd')) return []
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)]
    } catch {
      return []
    }
  })
}

test('a statement is prepared once, and not too many are kept', async () => {
  await using db = await createTestDb()
  const spy = vi.spyOn(Sqlite.prototype, 'prepare')
  onTestFinished(() => spy.mockRestore())
  const preparations = (text: string) => spy.mock.calls.filter(([sql]) => sql === text).length
  const select = (text: string) => sql.raw(text).execute(kyselyOn(db.read))

  for (let i = 0; i < 10; i++) await select('select 1')
  expect(preparations('select 1')).toBe(1)
  for (let i = 0; i < 1000; i++) await select(`select ${1000 + i}`)
  await select('select 1')
  expect(preparations('select 1')).toBe(2)
  for (let i = 0; i < 10; i++) await select('select 1')
  expect(preparations('select 1')).toBe(2)
})

test('a statement prepared before a migration returns correct rows after it', async () => {
  await using db = await createTestDb()
  const room = roomRow()
  const find = () => findRoom(db.read, { orgId: allOrganisations, roomId: idOf(1) })
  expect(await find()).toBeUndefined()
  await db.write((tx) => nextPosition(tx, 'last_room_position', { orgId: room.org_id, now: 0 }))
  await db.write((tx) => kyselyOn(tx).insertInto('rooms').values(room).execute())
  const insert = (id: string) =>
    db.write((tx) =>
      kyselyOn(tx)
        .insertInto('rooms')
        .values({ ...room, id, position: Number.parseInt(id, 16), user_id: id })
        .returningAll()
        .executeTakeFirst(),
    )
  expect(await find()).toEqual(room)
  await insert(idOf(2))

  // By this process and by another one, which may run a newer version.
  await db.write((tx) =>
    sql`alter table rooms add column note text default 'x'`.execute(kyselyOn(tx)),
  )
  expect(await find()).toEqual({ ...room, note: 'x' })
  expect(await insert(idOf(3))).toMatchObject({ id: idOf(3), note: 'x' })
  using other = connect(db.location)
  other.exec('alter table rooms rename column note to remark')
  expect(await find()).toEqual({ ...room, remark: 'x' })
  expect(await insert(idOf(4))).toMatchObject({ id: idOf(4), remark: 'x' })
  other.exec('alter table rooms drop column remark')
  expect(await find()).toEqual(room)
  expect(await insert(idOf(5))).not.toHaveProperty('remark')

  for (const name of ['messages', 'rooms']) other.exec(`alter table ${name} rename to ${name}_old`)
  await expect(find()).rejects.toThrow('no such table')
  for (const name of ['messages', 'rooms']) other.exec(`alter table ${name}_old rename to ${name}`)
  expect(await find()).toEqual(room)
})
