import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Report } from '../bench/report.ts'

// Checks that the benchmark works. Its figures are not asserted, since other tests run at the same time.

const run = promisify(execFile)
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dowell-chat-test-'))
})
afterAll(async () => {
  await rm(folder, { recursive: true, force: true })
  const left = await readdir(join('bench', 'results'))
  expect(left.filter((name) => name.startsWith('data-'))).toEqual([])
})

async function bench(...args: string[]) {
  return run(process.execPath, [join('bench', 'main.ts'), ...args])
}

async function report(...args: string[]): Promise<Report & { stdout: string }> {
  const json = join(folder, `${randomUUID()}.json`)
  const { stdout } = await bench('--quick', ...args, `--json=${json}`)
  return { ...JSON.parse(await readFile(json, 'utf8')), stdout }
}

const all = ['bare', 'usual-v3', 'usual-trpc', 'v2', 'v3', 'trpc', 'batch']

// Runs on PostgreSQL only if the other tests do.
const hasPostgres = (process.env.TEST_DATABASES || 'postgres').split(',').includes('postgres')

// Concurrent, because the runs mostly wait.
describe.concurrent('npm run bench', () => {
  it('measures every operation on each kind of server without wrong responses, and reports the figures', async () => {
    const kinds = ['bare', 'usual-trpc', 'v3']
    const args = [`--targets=${kinds}`, '--seconds=0.2', '--connections=2']
    const { header, rows, stdout } = await report(...args)

    expect(header.node).toBe(process.version)
    const groups = Map.groupBy(rows, ({ operation }) => operation)
    expect([...groups.keys()]).toEqual(['R', 'RC', 'P', 'L', 'CF', 'W', 'M', 'CN'])
    for (const group of groups.values()) expect(group.map(({ target }) => target)).toEqual(kinds)
    for (const row of rows) {
      expect(row).toMatchObject({ connections: 2, messages: 10_000, errors: 0, toSmallest: null })
      expect(row.perSecond).toBeGreaterThan(0)
      expect(row.toBare).toBeGreaterThan(0)
      expect(row.p99).toBeGreaterThanOrEqual(row.p50)
      expect(row.rounds).toHaveLength(1)
    }
    expect(stdout).toMatch(/\| W +\| bare +\|/)
  })

  it('measures every target', async () => {
    const { rows } = await report('--only=W', '--seconds=0.2', '--connections=2')
    expect(rows.map(({ target, errors }) => [target, errors])).toEqual(all.map((name) => [name, 0]))
  })

  it('compares database sizes and numbers of connections', async () => {
    const { rows } = await report('--sizes', '--only=P,PS', '--seconds=0.3', '--connections=1,2')
    expect(rows).toHaveLength(2 * 2 * 2 * 2)
    for (const row of rows) {
      expect(row.errors).toBe(0)
      if (row.messages === 1_000) expect(row.toSmallest).toBeNull()
      else expect(row.toSmallest).toBeGreaterThan(0)
    }
  })

  it.runIf(hasPostgres)('measures each kind of server on PostgreSQL', async () => {
    const kinds = ['bare', 'usual-v3', 'v3', 'batch']
    const targets = `--targets=${kinds}`
    const args = ['--database=postgres', targets, '--only=L,W', '--seconds=0.6', '--connections=2']
    const { rows } = await report(...args)
    expect(rows.map(({ target }) => target)).toEqual([...kinds, ...kinds])
    for (const row of rows) {
      expect(row.errors).toBe(0)
      expect(row.toBare).toBeGreaterThan(0)
    }
  })

  it('measures deliveries over event streams', async () => {
    const { streams } = await report('--streams', '--seconds=0.3')
    expect(streams.map(({ target }) => target)).toEqual(['bare', 'sse', 'trpc'])
    for (const row of streams) {
      expect(row.deliveries).toBeGreaterThan(0)
      expect(row.p99).toBeGreaterThanOrEqual(row.p50)
    }
  })

  it.runIf(hasPostgres)('measures writes during each disturbance', async () => {
    const { locked } = await report('--locked', '--seconds=0.3')
    expect(locked.map(({ disturbance }) => disturbance)).toEqual([
      'quiet',
      'a room is locked',
      "an organisation's row is locked",
      'a transaction is idle',
      'an instance is stopped',
    ])
    for (const { perSecond } of locked) expect(perSecond).toBeGreaterThan(0)
  })

  it('measures the requests of others during an attack', async () => {
    const { hostile } = await report('--hostile', '--seconds=4')
    expect(hostile.map(({ attack }) => attack)).toEqual(['v3 pages', 'v2 rooms'])
    for (const row of hostile) {
      expect(row.errors).toBe(0)
      expect(row.p95).toBeGreaterThan(0)
      expect(row.statuses).toHaveProperty('200')
    }
  })

  it('rejects unknown and unsupported operations', async () => {
    await expect(bench('--only=X')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('--only takes R, RC'),
    })
    await expect(bench('--database=postgres', '--only=CN')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('and not CN'),
    })
  })
})
