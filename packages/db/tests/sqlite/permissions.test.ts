import { chmodSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { copyDatabase, nextPosition, openDatabase } from '../../src/index.ts'
import { connect, createFolder } from '../support.ts'

function modeOf(path: string): string {
  return (statSync(path).mode & 0o777).toString(8)
}

/** The usual umask lets everyone read. */
function withUsualUmask(): void {
  const before = process.umask(0o022)
  onTestFinished(() => {
    process.umask(before)
  })
}

test('the folders and files of a new database are for its owner only, with their log and their copy', async () => {
  withUsualUmask()
  await using folder = await createFolder()
  const data = join(folder.path, 'a', 'data')
  const url = `sqlite:${join(data, 'test.db')}`
  const db = openDatabase({ url })
  await db.migrateToLatest()
  await db.write((tx) => nextPosition(tx, 'last_room_position', { orgId: 'A', now: 1 }))
  const files = readdirSync(data).sort()
  expect(files).toEqual(['test.db', 'test.db-shm', 'test.db-wal'])
  for (const file of files) expect(modeOf(join(data, file)), file).toBe('600')
  for (const path of [join(folder.path, 'a'), data]) expect(modeOf(path), path).toBe('700')
  expect(db.exposure).toBeUndefined()
  await db.close()

  const copy = join(folder.path, 'copies', 'copy.db')
  await copyDatabase({ from: url, to: `sqlite:${copy}`, onProgress: () => {} })
  expect([modeOf(join(folder.path, 'copies')), modeOf(copy)]).toEqual(['700', '600'])
})

test('an existing database that others can read is reported, and left as it is', async () => {
  withUsualUmask()
  await using folder = await createFolder()
  const file = join(folder.path, 'test.db')
  const exposures: [folder: number, file: number, isExposed: boolean][] = [
    [0o755, 0o644, true],
    [0o711, 0o604, true],
    [0o750, 0o640, true],
    [0o755, 0o622, true],
    [0o755, 0o600, false],
    [0o700, 0o644, false],
    // Each class of users needs both.
    [0o710, 0o604, false],
  ]
  connect(file).close()
  for (const [ofFolder, ofFile, isExposed] of exposures) {
    chmodSync(folder.path, ofFolder)
    chmodSync(file, ofFile)
    const db = openDatabase({ url: `sqlite:${file}` })
    const mode = ofFile.toString(8)
    const warning = `other users of this machine can read the database ${file} (mode 0${mode}), with all messages and signing keys: run chmod 600 ${file}*`
    expect(db.exposure, `${ofFolder.toString(8)} ${mode}`).toBe(isExposed ? warning : undefined)
    await db.close()
    expect(modeOf(file)).toBe(mode)
  }
})

test('an empty file that exists keeps its mode', async () => {
  await using folder = await createFolder()
  const file = join(folder.path, 'test.db')
  writeFileSync(file, '', { mode: 0o640 })
  chmodSync(file, 0o640)
  const db = openDatabase({ url: `sqlite:${file}` })
  await db.migrateToLatest()
  await db.close()
  expect(modeOf(file)).toBe('640')
})
