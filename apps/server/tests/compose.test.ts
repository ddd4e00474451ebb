import { execFile, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { createTestStore } from '@dowell-chat/db/testing'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { killAtEnd } from '../../../packages/db/tests/watchdog.ts'
import { describeSettings, readConfig } from '../src/config.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const read = (file: string) => readFileSync(`${root}/${file}`, 'utf8')

interface Service {
  readonly image: string
  readonly environment?: Record<string, string>
  readonly depends_on?: Record<string, { condition: string }>
  readonly healthcheck?: { test: string[] }
  readonly ports?: string[]
  readonly volumes?: string[]
}

const compose = parse(read('compose.yaml'), { merge: true }) as {
  services: Record<string, Service>
  volumes: Record<string, unknown>
}
const { services } = compose
const chats = Object.entries(services).filter(([, { image }]) => image === 'dowell-chat')
const [, chat] = chats[0] ?? ['', { image: '' } as Service]
const dockerfile = read('Dockerfile')
const command = JSON.parse(/^CMD (.*)$/m.exec(dockerfile)?.[1] ?? '') as string[]

test('each service waits for one that has a health check', () => {
  expect(chats).toHaveLength(2)
  for (const [name, { depends_on = {}, volumes = [] }] of Object.entries(services)) {
    for (const [other, { condition }] of Object.entries(depends_on)) {
      expect([name, condition]).toEqual([name, 'service_healthy'])
      expect(services[other]?.healthcheck, other).toBeDefined()
    }
    for (const volume of volumes) {
      const [source = ''] = volume.split(':')
      if (source.startsWith('.')) expect(read(source)).not.toBe('')
      else expect(compose.volumes).toHaveProperty(source)
    }
  }
})

test('both instances have the same valid settings', () => {
  const known = describeSettings().map(({ name }) => name)
  for (const [, { environment = {} }] of chats) {
    expect(known).toEqual(expect.arrayContaining(Object.keys(environment)))
    expect(environment).toEqual(chat.environment)
    const config = readConfig(environment)
    const url = new URL(config.DATABASE_URL.replace(/\$\{.*\}/, 'password'))
    expect(services).toHaveProperty(url.hostname)
    const { POSTGRES_USER, POSTGRES_DB, POSTGRES_PASSWORD } =
      services[url.hostname]?.environment ?? {}
    expect([url.username, url.pathname]).toEqual([POSTGRES_USER, `/${POSTGRES_DB}`])
    expect(config.DATABASE_URL).toContain(`:${POSTGRES_PASSWORD}@`)
  }
})

test("the image has the project's versions and runs the command of npm start", () => {
  const { packageManager } = JSON.parse(read('package.json')) as { packageManager: string }
  const [withoutHash] = packageManager.split('+')
  expect(dockerfile).toContain(`npx --yes ${withoutHash} install --frozen-lockfile`)
  const { nodeVersion } = parse(read('pnpm-workspace.yaml')) as { nodeVersion: string }
  expect(dockerfile).toContain(`FROM node:${nodeVersion.split('.')[0]}-`)
  const started = /start: \[\[(.*)\]\]/.exec(read('scripts/bootstrap.mjs'))?.[1]
  expect(command.map((word) => `'${word}'`).join(', ')).toBe(started)
})

test('the default database of the image is in a volume that its user may write', () => {
  const lines = dockerfile.split('\n')
  const url = /^ENV DATABASE_URL=(.*)$/m.exec(dockerfile)?.[1] ?? ''
  const { DATABASE_URL } = readConfig({ DATABASE_URL: url })
  const folder = dirname(DATABASE_URL.replace(/^sqlite:/, ''))
  expect(folder).toMatch(/^\/\w/)
  expect(lines).toContain(`VOLUME ${folder}`)
  const user = /^USER (\w+)$/m.exec(dockerfile)?.[1]
  const owned = `RUN mkdir -m 700 ${folder} && chown ${user}:${user} ${folder}`
  expect(lines).toContain(owned)
  // Changes of the folder after VOLUME would be lost, and USER may not make it.
  expect(lines.indexOf(owned)).toBeLessThan(lines.indexOf(`VOLUME ${folder}`))
  expect(lines.indexOf(owned)).toBeLessThan(lines.indexOf(`USER ${user}`))
})

test('the container is not in open mode', () => {
  expect(dockerfile).toMatch(/^ENV NODE_ENV=production$/m)
  expect(read('compose.yaml')).toMatch(
    /docker compose exec chat-1 node apps\/server\/src\/cli\.ts keys create --org/,
  )
})

test('the command of the image starts a server that its health check finds ready', async () => {
  await using store = await createTestStore()
  const { environment, healthcheck } = chat
  const [program, ...args] = command
  expect(program).toBe('node')
  const server = spawn(process.execPath, args, {
    cwd: root,
    env: {
      PATH: process.env.PATH,
      ...environment,
      // What only the network of the containers has.
      HOST: '127.0.0.1',
      PORT: '0',
      DATABASE_URL: store.url,
    },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  killAtEnd(server)
  const ended = new Promise((resolve) => server.on('close', resolve))
  try {
    const port = await new Promise<string>((resolve, reject) => {
      let text = ''
      server.stdout.on('data', (part) => {
        text += part
        const found = /:(\d+)\/trpc/.exec(text)?.[1]
        if (found) resolve(found)
      })
      ended.then(() => reject(new Error('the server did not start')), reject)
    })
    const [kind, , ...check] = healthcheck?.test ?? []
    expect(kind).toBe('CMD')
    expect(check.join(' ')).toContain(`127.0.0.1:${environment?.PORT}/readyz`)
    const ask = () =>
      promisify(execFile)(
        process.execPath,
        check.map((word) => word.replace(`:${environment?.PORT}/`, `:${port}/`)),
      )
    await ask()
    server.kill('SIGTERM')
    await ended
    await expect(ask()).rejects.toMatchObject({ code: 1 })
  } finally {
    server.kill('SIGKILL')
    await ended
  }
})

test('the load balancer knows both instances, listens on its published port and does not buffer streams', () => {
  const nginx = read('deploy/nginx.conf').replace(/#.*/g, '')
  const servers = [...nginx.matchAll(/server ([\w.-]+:\d+)/g)].map(([, server]) => server)
  expect(servers).toEqual(chats.map(([name, { environment }]) => `${name}:${environment?.PORT}`))
  const port = /listen (\d+);/.exec(nginx)?.[1]
  expect(services.balancer?.ports).toEqual([expect.stringMatching(`:${port}$`)])
  expect(nginx).toMatch(/proxy_buffering off;/)
  expect(nginx).toMatch(/proxy_http_version 1\.1;/)
  expect(Number(/proxy_read_timeout (\d+)s;/.exec(nginx)?.[1])).toBeGreaterThan(45)
  // Every instance believes what the balancer says of its callers, and nothing that a caller says itself.
  expect(nginx).toMatch(/X-Forwarded-For \$remote_addr;/)
})
