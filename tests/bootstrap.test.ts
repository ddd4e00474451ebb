import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

// A small project with the real bootstrap script and a registry that records its requests. The pnpm in that registry
// asks it once for each install. The first test uses the real npx, which is slow; in the others npx is that pnpm.

const root = fileURLToPath(new URL('..', import.meta.url))
const VERSION = '1.2.3'

const PNPM = `#!/usr/bin/env node
const fs = require('node:fs')
fs.mkdirSync('node_modules/.pnpm', { recursive: true })
fs.mkdirSync('node_modules/node/bin', { recursive: true })
fs.copyFileSync('pnpm-lock.yaml', 'node_modules/.pnpm/lock.yaml')
fs.writeFileSync('node_modules/.modules.yaml', '')
for (const app of fs.readdirSync('apps')) fs.mkdirSync('apps/' + app + '/node_modules', { recursive: true })
fs.rmSync('node_modules/node/bin/node', { force: true })
fs.symlinkSync(process.execPath, 'node_modules/node/bin/node')
fetch(process.env.npm_config_registry + '/install').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))
`

/** The files of an npm package. */
function packPnpm(folder: string): Buffer {
  const source = join(folder, 'pnpm')
  mkdirSync(source)
  const manifest = { name: 'pnpm', version: VERSION, bin: { pnpm: 'pnpm.cjs' } }
  writeFileSync(join(source, 'package.json'), JSON.stringify(manifest))
  writeFileSync(join(source, 'pnpm.cjs'), PNPM, { mode: 0o755 })
  execFileSync('npm', ['pack', '--silent', '--pack-destination', folder], { cwd: source })
  return readFileSync(join(folder, `pnpm-${VERSION}.tgz`))
}

async function createProject({ npx }: { npx: 'real' | 'stub' }) {
  const folder = mkdtempSync(join(tmpdir(), 'dowell-chat-bootstrap-'))
  const tarball = npx === 'real' ? packPnpm(folder) : Buffer.alloc(0)
  mkdirSync(join(folder, 'bin'))
  if (npx === 'stub') writeFileSync(join(folder, 'bin/npx'), PNPM, { mode: 0o755 })
  const requests: string[] = []
  let onInstall = (): number => 200
  const registry = createServer((req, res) => {
    const { url = '' } = req
    requests.push(url)
    if (url === '/install') res.writeHead(onInstall()).end()
    else if (url.endsWith('.tgz')) res.end(tarball)
    else if (url === '/pnpm') res.end(JSON.stringify(packument))
    else res.writeHead(404).end()
  }).listen(0, '127.0.0.1')
  await once(registry, 'listening')
  const url = `http://127.0.0.1:${(registry.address() as AddressInfo).port}`
  const integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`
  const packument = {
    name: 'pnpm',
    'dist-tags': { latest: VERSION },
    versions: {
      [VERSION]: {
        name: 'pnpm',
        version: VERSION,
        bin: { pnpm: 'pnpm.cjs' },
        dist: { integrity, tarball: `${url}/pnpm/-/pnpm-${VERSION}.tgz` },
      },
    },
  }

  const write = (path: string, content: string) => {
    const file = join(folder, 'project', path)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, content)
  }
  const hash = 'a'.repeat(128)
  write('package.json', JSON.stringify({ packageManager: `pnpm@${VERSION}+sha512.${hash}` }))
  write('pnpm-workspace.yaml', 'packages:\n  - apps/*\n')
  write('pnpm-lock.yaml', 'first')
  write('apps/server/package.json', '{}')
  write('apps/server/src/main.ts', "console.log('started')")
  write('scripts/bootstrap.mjs', '')
  copyFileSync(join(root, 'scripts/bootstrap.mjs'), join(folder, 'project/scripts/bootstrap.mjs'))

  const spawnStart = () =>
    spawn(process.execPath, ['scripts/bootstrap.mjs', 'start'], {
      cwd: join(folder, 'project'),
      env: {
        PATH: `${join(folder, 'bin')}:${process.env.PATH}`,
        npm_config_registry: url,
        npm_config_cache: join(folder, 'cache'),
        npm_config_update_notifier: 'false',
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    })

  /** @returns what a start printed, and how often it installed */
  const start = async () => {
    requests.length = 0
    const child = spawnStart()
    const ended = once(child, 'close')
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
    const [status] = await ended
    return { status, stdout, stderr, installs: requests.filter((url) => url === '/install').length }
  }

  const remove = (path: string) =>
    rmSync(join(folder, 'project', path), { recursive: true, force: true })

  return {
    write,
    remove,
    start,
    requests,
    /** A start that is killed while it installs. */
    async startAndKill() {
      const child = spawnStart()
      onInstall = () => {
        child.kill('SIGKILL')
        return 200
      }
      expect(await once(child, 'exit')).toEqual([null, 'SIGKILL'])
      onInstall = () => 200
    },
    failInstalls(fail: boolean) {
      onInstall = () => (fail ? 500 : 200)
    },
    [Symbol.dispose]() {
      registry.close()
      registry.closeAllConnections()
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

const installed = { status: 0, stdout: 'started\n', installs: 1 }
const started = { status: 0, stdout: 'started\n', installs: 0 }

describe.concurrent('npm start', { timeout: 120_000 }, () => {
  it('asks the registry for the first install, and for nothing once it is complete', async () => {
    using project = await createProject({ npx: 'real' })
    expect(await project.start()).toMatchObject(installed)
    expect(project.requests).toContain('/pnpm')
    expect(await project.start()).toMatchObject({ ...started, stderr: '' })
    expect(project.requests).toEqual([])
  })

  it('installs again when the lockfile or a package changes', async () => {
    using project = await createProject({ npx: 'stub' })
    await project.start()
    project.write('pnpm-lock.yaml', 'second')
    expect(await project.start()).toMatchObject(installed)
    expect(await project.start()).toMatchObject(started)
    project.write('apps/inbox/package.json', '{}')
    expect(await project.start()).toMatchObject(installed)
    expect(await project.start()).toMatchObject(started)
  })

  it('installs again when somebody else installed another lockfile', async () => {
    using project = await createProject({ npx: 'stub' })
    await project.start()
    project.write('node_modules/.pnpm/lock.yaml', 'second')
    expect(await project.start()).toMatchObject(installed)
  })

  it('installs again when a part of node_modules was removed', async () => {
    using project = await createProject({ npx: 'stub' })
    await project.start()
    for (const path of ['apps/server/node_modules', 'node_modules/.modules.yaml']) {
      project.remove(path)
      expect(await project.start()).toMatchObject(installed)
    }
    expect(await project.start()).toMatchObject(started)
  })

  it('repeats an install that failed, also when the lockfile is the former one again', async () => {
    using project = await createProject({ npx: 'stub' })
    await project.start()
    project.failInstalls(true)
    project.write('pnpm-lock.yaml', 'second')
    expect(await project.start()).toMatchObject({ status: 1, stdout: '' })
    project.failInstalls(false)
    project.write('pnpm-lock.yaml', 'first')
    project.write('node_modules/.pnpm/lock.yaml', 'first')
    expect(await project.start()).toMatchObject(installed)
  })

  it('repeats an install during which it was killed', async () => {
    using project = await createProject({ npx: 'stub' })
    await project.startAndKill()
    expect(await project.start()).toMatchObject(installed)
    expect(await project.start()).toMatchObject(started)
  })
})
