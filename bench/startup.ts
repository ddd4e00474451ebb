import { join } from 'node:path'
import { type ContenderName, type StartOptions, start } from './contenders.ts'
import { once } from './http.ts'
import { shotsOf } from './operations.ts'
import type { Options } from './options.ts'
import { median, round, type Startup } from './report.ts'
import type { Seed } from './seed.ts'

interface Way {
  readonly name: string
  readonly contender: ContenderName
  readonly options: Partial<StartOptions>
}

/** How long each way of starting takes until the first read of a message page is answered, on an existing database. */
export async function measureStartup(
  options: Options,
  seed: Seed,
  folder: string,
): Promise<Startup[]> {
  const cache = { NODE_COMPILE_CACHE: join(folder, 'compile-cache') }
  const ways: Way[] = [
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
    ways.map(({ name }) => [name, [] as { listening: number; first: number }[]]),
  )
  const bytes = shotsOf('R', 'v3', seed)[0]?.bytes as Buffer
  // Round 0 makes the bundle and fills the caches, as any later start finds them.
  for (let number = 0; number <= options.rounds; number++) {
    for (const way of ways) {
      const begin = performance.now()
      const contender = await start(way.contender, {
        ...options,
        url: `sqlite:${seed.file}`,
        folder,
        ...way.options,
      })
      const listening = performance.now() - begin
      const { status } = await once(contender.port, bytes)
      const first = performance.now() - begin
      await contender.stop()
      if (status !== 200) throw new Error(`${way.name}: status ${status}`)
      if (number > 0) times.get(way.name)?.push({ listening, first })
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
