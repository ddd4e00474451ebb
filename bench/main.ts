import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { compare } from './compare.ts'
import { killAll } from './contenders.ts'
import { freeBytes, temporaryFolder } from './folders.ts'
import type { Operation } from './operations.ts'
import { HELP, type Options, readOptions, UsageError } from './options.ts'
import { profile } from './profile.ts'
import { header, markdown, type Report } from './report.ts'
import { buildSeed, type SeedSize, STANDARD_SIZE } from './seed.ts'
import { measureStartup } from './startup.ts'
import { measureStreams } from './streams.ts'

/** Bytes that a message takes on disk, with its index and the log of its insertion, at most. */
const MESSAGE_BYTES = 800

async function main(args: readonly string[]): Promise<void> {
  const options = readOptions(args)
  if (!options) {
    process.stdout.write(HELP)
    return
  }
  using folder = temporaryFolder()
  const stop = () => {
    killAll()
    folder[Symbol.dispose]()
    process.exit(1)
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop)

  if (options.mode === 'profile') {
    const seed = seeded(folder.path, STANDARD_SIZE)
    for (const [operation, target] of options.profiles) {
      process.stdout.write(`${await profile(options, seed, folder.path, operation, target)}\n`)
    }
    return
  }
  const report = { header: header(folder.path, args), ...(await measured(options, folder.path)) }
  const json = resolve(options.json)
  mkdirSync(dirname(json), { recursive: true })
  writeFileSync(json, `${JSON.stringify(report, null, 2)}\n`)
  process.stdout.write(markdown(report))
}

async function measured(options: Options, folder: string): Promise<Omit<Report, 'header'>> {
  const none = { rows: [], notes: [], startup: [], streams: [] }
  if (options.mode === 'startup') {
    const seed = seeded(folder, STANDARD_SIZE)
    return { ...none, startup: await measureStartup(options, seed, folder) }
  }
  if (options.mode === 'streams') {
    const size = { ...STANDARD_SIZE, rooms: 200, messages: 1_000 }
    return { ...none, streams: await measureStreams(options, seeded(folder, size), folder) }
  }
  if (options.mode === 'compare') {
    return { ...none, ...(await compare(options, seeded(folder, STANDARD_SIZE), folder)) }
  }
  const rows = []
  const notes = []
  for (const messages of options.huge ? [1e3, 1e5, 1e7] : [1e3, 1e5]) {
    if (freeBytes(folder) < messages * MESSAGE_BYTES) {
      throw new Error(
        `a room of ${messages} messages needs ${messages * MESSAGE_BYTES} bytes of disk`,
      )
    }
    // Nothing but the one room, so that the table has the size that is asked about.
    const seed = seeded(folder, { messages, rooms: 2, busyRooms: 1, busyMessages: 0 })
    const only: Operation[] = ['R', 'P', 'WR']
    const compared = await compare({ ...options, only }, seed, folder, true)
    rows.push(...compared.rows)
    notes.push(...compared.notes)
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${seed.file}${suffix}`, { force: true })
  }
  return { ...none, rows, notes }
}

function seeded(folder: string, size: SeedSize) {
  process.stderr.write(`building a database with a room of ${size.messages} messages\n`)
  return buildSeed(join(folder, `seed-${size.messages}.db`), size)
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  killAll()
  const text = error instanceof UsageError ? error.message : (error as Error).stack
  process.stderr.write(`${text}\n`)
  process.exitCode = 1
}
