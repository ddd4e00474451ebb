import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Report } from '../bench/report.ts'

// Keeps the benchmark running. What it measures is asserted nowhere: this machine has other things to do meanwhile.

const run = promisify(execFile)
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dowell-chat-test-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function bench(...args: string[]) {
  return run(process.execPath, [join('bench', 'main.ts'), ...args])
}

describe('npm run bench', () => {
  it('drives every server without a wrong answer and tells the figures', async () => {
    const json = join(folder, 'report.json')
    const { stdout } = await bench(
      '--quick',
      '--only=W',
      '--seconds=0.1',
      '--connections=4',
      `--json=${json}`,
    )

    const { header, rows } = JSON.parse(await readFile(json, 'utf8')) as Report
    expect(header.node).toBe(process.version)
    expect(rows.map(({ target }) => target)).toEqual([
      'bare',
      'usual-v3',
      'usual-trpc',
      'v2',
      'v3',
      'trpc',
      'batch',
    ])
    for (const row of rows) {
      expect(row).toMatchObject({ operation: 'W', connections: 4, messages: 10_000, errors: 0 })
      expect(row.perSecond).toBeGreaterThan(0)
      expect(row.toBare).toBeGreaterThan(0)
      expect(row.p99).toBeGreaterThanOrEqual(row.p50)
      expect(row.rounds).toHaveLength(1)
    }
    expect(stdout).toMatch(/\| W +\| bare +\|/)
    expect(
      (await readdir(join('bench', 'results'))).filter((name) => name.startsWith('data-')),
    ).toEqual([])
  })

  it('counts what arrives over event streams', async () => {
    const json = join(folder, 'streams.json')
    await bench('--streams', '--quick', '--seconds=0.2', `--json=${json}`)
    const { streams } = JSON.parse(await readFile(json, 'utf8')) as Report
    expect(streams.map(({ target }) => target)).toEqual(['bare', 'sse', 'trpc'])
    for (const row of streams) {
      expect(row.deliveries).toBeGreaterThan(0)
      expect(row.p99).toBeGreaterThanOrEqual(row.p50)
    }
  })

  it('refuses what it does not know', async () => {
    await expect(bench('--only=X')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('--only takes R, RC'),
    })
  })
})
