import { copyFileSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { checkResponses, measure } from './compare.ts'
import { findTarget, LoadGenerator, start, type TargetName } from './contenders.ts'
import { results, root } from './folders.ts'
import { markdownTable } from './markdownTable.ts'
import { callsPerRequest, type Operation } from './operations.ts'
import type { Options } from './options.ts'
import type { Seed } from './seed.ts'

/** Sampling interval (µs). */
const INTERVAL_US = 200

interface ProfileNode {
  readonly id: number
  readonly callFrame: {
    readonly functionName: string
    readonly url: string
    readonly lineNumber: number
  }
  readonly children?: readonly number[]
}

interface Profile {
  readonly nodes: readonly ProfileNode[]
  /** Microseconds of the monotonic clock. */
  readonly startTime: number
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

/**
 * Runs a server under `--cpu-prof` and measures one operation.
 *
 * @returns self time per call by package and by function (µs), as Markdown
 */
export async function profile(
  options: Options,
  seed: Seed,
  folder: string,
  operation: Operation,
  name: TargetName,
): Promise<string> {
  const target = findTarget(name)
  const file = join(folder, `profile-${operation}-${name}.db`)
  copyFileSync(seed.file, file)
  const profiles = join(folder, `profile-${operation}-${name}`)
  const nodeArgs = [
    '--cpu-prof',
    `--cpu-prof-dir=${profiles}`,
    `--cpu-prof-interval=${INTERVAL_US}`,
  ]
  const contender = await start(target.contender, {
    ...options,
    url: `sqlite:${file}`,
    folder,
    nodeArgs,
  })
  const load = new LoadGenerator()
  const [connections = 50] = options.connections
  let outcome: Awaited<ReturnType<typeof measure>>
  try {
    const timing = { seconds: options.seconds, warmUpMs: options.firstWarmUpMs }
    const running = { target, contender }
    const etag = (await checkResponses(operation, seed, [running])).get(name)
    outcome = await measure(timing, load, seed, operation, connections, running, etag)
  } finally {
    load.stop()
    await contender.stop()
  }
  // Each thread writes a profile; the main thread's number is 0.
  const written = readdirSync(profiles).find((each) => /\.0\.\d+\.cpuprofile$/.test(each))
  if (written === undefined) throw new Error('the server wrote no profile')
  mkdirSync(results, { recursive: true })
  const kept = join(results, `${operation}-${name}.cpuprofile`)
  copyFileSync(join(profiles, written), kept)

  const calls = outcome.requests * callsPerRequest(target.protocol)
  const parsed = JSON.parse(readFileSync(kept, 'utf8')) as Profile
  const { groups, functions, idle, total } = selfTimes(parsed, outcome.window)
  const rate = Math.round(calls / outcome.seconds)
  const share = (time: number) => `${((100 * time) / total).toFixed(1)} %`
  const topRows = (times: ReadonlyMap<string, number>, count: number) =>
    [...times]
      .sort(([, a], [, b]) => b - a)
      .slice(0, count)
      .map(([name, time]) => [name, (time / calls).toFixed(2), share(time)])
  return [
    `### ${operation} over ${name}: ${rate} calls/s under the profiler, ${(total / calls).toFixed(1)} µs of CPU time per call, idle ${((100 * idle) / (idle + total)).toFixed(0)} %`,
    '',
    ...markdownTable(['package', 'µs per call', 'share'], topRows(groups, 20)),
    '',
    ...markdownTable(['function', 'µs per call', 'share'], topRows(functions, 40)),
    '',
    `bench/results/${basename(kept)} opens in a browser's developer tools.`,
    '',
  ].join('\n')
}

function selfTimes(profile: Profile, [begin, end]: readonly [number, number]) {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]))
  const parents = new Map(
    profile.nodes.flatMap((node) =>
      (node.children ?? []).map((child) => [child, node.id] as const),
    ),
  )
  const times = new Map<number, number>()
  let at = profile.startTime
  profile.samples.forEach((id, index) => {
    const delta = profile.timeDeltas[index] ?? 0
    at += delta
    if (at >= begin && at <= end) times.set(id, (times.get(id) ?? 0) + delta)
  })
  const groups = new Map<string, number>()
  const functions = new Map<string, number>()
  let idle = 0
  let total = 0
  for (const [id, time] of times) {
    const { group, name } = classify(nodes.get(id) as ProfileNode, () =>
      nodes.get(parents.get(id) ?? -1),
    )
    if (name === '(idle)') {
      idle += time
      continue
    }
    total += time
    groups.set(group, (groups.get(group) ?? 0) + time)
    functions.set(name, (functions.get(name) ?? 0) + time)
  }
  return { groups, functions, idle, total }
}

/** Names of the engine's own work in a profile. */
const ENGINE = new Set(['(garbage collector)', '(program)', '(idle)', '(root)'])

/** Native methods of better-sqlite3, which a profile shows without a file. */
const SQLITE = new Set([
  'run',
  'get',
  'all',
  'prepare',
  'exec',
  'raw',
  'iterate',
  'pragma',
  'safeIntegers',
])

const DATABASE = 'SQLite, including the call'

/** Returns the package of a function, and its name in the list. */
function classify(
  node: ProfileNode,
  parentOf: () => ProfileNode | undefined,
): { group: string; name: string } {
  const { functionName, url } = node.callFrame
  const title = functionName || '(anonymous)'
  if (url !== '') {
    const { group, file } = fileOf(url)
    // This function only calls the database.
    const isQuery = title === 'executeQuery' && file.endsWith('sqlite-driver.js')
    return { group: isQuery ? DATABASE : group, name: `${title}  ${file}` }
  }
  if (ENGINE.has(title)) return { group: title, name: title }
  // Built-in and native functions count for their caller, except for the database's.
  const caller = parentOf()?.callFrame
  const from = caller && caller.url !== '' ? fileOf(caller.url) : { group: 'engine', file: '' }
  const isDriver = /kysely|packages\/db|contenders\/|better-sqlite3/.test(
    `${from.group} ${from.file}`,
  )
  if (isDriver && SQLITE.has(title)) {
    return { group: DATABASE, name: `${title}  [SQLite]` }
  }
  return { group: from.group, name: `${title}  [built in, called by ${from.file || 'the engine'}]` }
}

function fileOf(url: string): { group: string; file: string } {
  if (url.startsWith('node:')) return { group: groupOfNode(url), file: url }
  const path = url.startsWith('file:') ? fileURLToPath(url.replace(/\?.*$/, '')) : url
  const inside = path.split('/node_modules/').at(-1) as string
  if (inside !== path) {
    const [scope = '', name = ''] = inside.split('/')
    const group = scope.startsWith('@') ? `${scope}/${name}` : scope
    return { group, file: `${group}/…/${basename(path)}` }
  }
  const own = path.startsWith(root) ? path.slice(root.length + 1) : basename(path)
  const [top = '', second = ''] = own.split('/')
  return { group: top === 'bench' ? 'bench' : `own: ${top}/${second}`, file: own }
}

/** Groups Node's modules by purpose. */
function groupOfNode(url: string): string {
  if (/_http|internal\/http|node:http|internal\/url|querystring/.test(url)) return 'node: http'
  if (/stream|net$|internal\/stream_base/.test(url)) return 'node: streams and sockets'
  if (/async_hooks|async_local|task_queues|timers|process\//.test(url))
    return 'node: queues and timers'
  if (/undici|deps\/|webstreams|abort|event_target|fetch/.test(url))
    return 'node: fetch and web streams'
  if (/crypto/.test(url)) return 'node: crypto'
  if (/buffer|encoding/.test(url)) return 'node: buffers'
  if (/:fs|internal\/fs/.test(url)) return 'node: fs'
  return 'node: other'
}
