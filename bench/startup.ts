import { join } from 'node:path'
import { type ContenderName, type StartOptions, start } from './contenders.ts'
import { sendOnce } from './http.ts'
import { prepareRequests } from './operations.ts'
import type { Options } from './options.ts'
import type { Seed } from './seed.ts'
import { median, round } from './statistics.ts'

/** Start times of one variant: medians over the rounds. */
export interface Startup {
  readonly name: string
  /** Time from the start of the process until it listens (ms). */
  readonly listening: number
  /** Time until the first response (ms). */
  readonly firstAnswer: number
  /** `firstAnswer` of each round. */
  readonly rounds: readonly number[]
}

interface StartVariant {
  readonly name: string
  readonly contender: ContenderName
  readonly options: Partial<StartOptions>
}

/** Measures the time until the first page of messages from an existing database, for each variant. */
export async function measureStartup(
  options: Options,
  seed: Seed,
  folder: string,
): Promise<Startup[]> {
  const cache = { NODE_COMPILE_CACHE: join(folder, 'compile-cache') }
  const variants: StartVariant[] = [
    { name: 'tsx', contender: 'server', options: { runtime: 'tsx' } },
    { name: 'strip', contender: 'server', options: { runtime: 'strip' } },
    {
      name: 'strip, compile cache (npm start)',
      contender: 'server',
      options: { runtime: 'strip', env: cache },
    },
    { name: 'bundle', contender: 'server', options: { runtime: 'bundle' } },
    {
      name: 'bundle, compile cache',
      contender: 'server',
      options: { runtime: 'bundle', env: cache },
    },
    { name: 'usual', contender: 'usual', options: {} },
    { name: 'bare', contender: 'bare', options: {} },
  ]
  const times = new Map(
    variants.map(({ name }) => [name, [] as { listening: number; first: number }[]]),
  )
  const bytes = prepareRequests('R', 'v3', seed)[0]?.bytes as Buffer
  // Round 0 creates the bundle and fills the caches for the measured rounds.
  for (let number = 0; number <= options.rounds; number++) {
    for (const variant of variants) {
      const begin = performance.now()
      const contender = await start(variant.contender, {
        ...options,
        url: `sqlite:${seed.file}`,
        folder,
        ...variant.options,
      })
      const listening = performance.now() - begin
      const { status } = await sendOnce(contender.port, bytes)
      const first = performance.now() - begin
      await contender.stop()
      if (status !== 200) throw new Error(`${variant.name}: status ${status}`)
      if (number > 0) times.get(variant.name)?.push({ listening, first })
    }
    process.stderr.write(`startup round ${number}/${options.rounds}\n`)
  }
  return [...times].map(([name, rounds]) => ({
    name,
    listening: round(median(rounds.map(({ listening }) => listening)), 1),
    firstAnswer: round(median(rounds.map(({ first }) => first)), 1),
    rounds: rounds.map(({ first }) => round(first, 1)),
  }))
}
