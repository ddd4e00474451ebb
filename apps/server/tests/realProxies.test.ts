import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createTestStore } from '@dowell-chat/db/testing'
import { expect, type TestContext, test } from 'vitest'
import { killAtEnd } from '../../../packages/db/tests/watchdog.ts'
import type { Config } from '../src/config.ts'
import { createKey, unlimited } from './credentials.ts'
import { ask } from './database.ts'
import { FORM, form, manageKeys, ROOMS, surfaces, V2_ROOM } from './openMode.ts'
import { createFolder, startServer } from './serverProcess.ts'
import { freePort, isListening, request } from './sockets.ts'
import { createTestApp } from './support.ts'

// Proxies as they come from Debian, before a server as npm start makes it. They say nothing of themselves that the server
// could go by, so whatever is reached through them is what a proxy that nobody thought of exposes.

interface Proxy {
  readonly title: string
  readonly program: string
  readonly versionFlag: string
  /** The arguments that start it in the foreground. */
  configure(folder: { file(name: string): string }, port: number, upstream: string): string[]
}

const nginx = (title: string, location: string): Proxy => ({
  title,
  program: 'nginx',
  versionFlag: '-v',
  configure(folder, port, upstream) {
    mkdirSync(folder.file('logs'))
    writeFileSync(
      folder.file('nginx.conf'),
      `daemon off; master_process off; pid nginx.pid; error_log stderr;
      events {}
      http {
        access_log off;
        client_body_temp_path body; proxy_temp_path proxy;
        fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
        server { listen 127.0.0.1:${port}; location / { proxy_pass http://${upstream}; ${location} } }
      }`,
    )
    return ['-p', folder.file(''), '-c', folder.file('nginx.conf'), '-e', 'stderr']
  },
})

const proxies: Proxy[] = [
  nginx('nginx with HTTP/1.0 to the upstream, its default before 1.29.7', ''),
  nginx(
    'nginx with HTTP/1.1 to the upstream, its default from 1.29.7 on',
    'proxy_http_version 1.1; proxy_set_header Connection "";',
  ),
  {
    title: 'haproxy',
    program: 'haproxy',
    versionFlag: '-v',
    configure(folder, port, upstream) {
      // What /etc/haproxy/haproxy.cfg of Debian has of these sections, without its log, user and chroot.
      writeFileSync(
        folder.file('haproxy.cfg'),
        `defaults
          mode http
          option dontlognull
          timeout connect 5000
          timeout client 50000
          timeout server 50000
        frontend all
          bind 127.0.0.1:${port}
          default_backend chat
        backend chat
          server chat ${upstream}\n`,
      )
      return ['-db', '-f', folder.file('haproxy.cfg')]
    },
  },
]

/** Skips where a program is missing, except in CI, where nobody would miss a test that is skipped. */
function needs(context: TestContext, { program, versionFlag }: Proxy): void {
  const isMissing = spawnSync(program, [versionFlag]).error !== undefined
  if (isMissing && process.env.CI) throw new Error(`${program} is not installed`)
  context.skip(isMissing, `${program} is not installed`)
}

async function startProxy(proxy: Proxy, upstream: string) {
  const folder = await createFolder()
  const port = await freePort()
  const child = spawn(proxy.program, proxy.configure(folder, port, upstream), {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  killAtEnd(child)
  let said = ''
  child.stderr.on('data', (part) => {
    said += part
  })
  const ended = once(child, 'close')
  await untilListening(port, child, () => said)
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
      await folder[Symbol.asyncDispose]()
    },
  }
}

async function untilListening(port: number, child: ChildProcess, said: () => string) {
  while (!(await isListening(port))) {
    if (child.exitCode !== null) throw new Error(`the proxy ended: ${said()}`)
  }
}

/** What a caller may say of itself: haproxy passes the Host on, and nginx any other header. */
const disguises: Record<string, string>[] = [
  {},
  { Host: 'localhost' },
  { Host: '127.0.0.1', Origin: 'http://localhost' },
  { Host: 'chat.example.com' },
]

/** Settings of a server that others reach. */
const publicFaces: Partial<Record<keyof Config, string>>[] = [
  { HOST: '0.0.0.0' },
  { TRUST_PROXY: 'loopback' },
  { CORS_ORIGINS: 'https://app.example.com' },
  { NODE_ENV: 'production' },
]

for (const proxy of proxies) {
  test(`through ${proxy.title} nobody makes a key or a token on a new server`, async (context) => {
    needs(context, proxy)
    await using store = await createTestStore()
    await using server = await startServer({ ...unlimited, DATABASE_URL: store.url })
    await using front = await startProxy(proxy, new URL(server.url).host)
    for (const headers of disguises) {
      for (const answer of await manageKeys(front.url, { headers })) {
        expect([401, 403], answer.text).toContain(answer.status)
      }
    }
    const made = { databaseUrl: store.url }
    expect(await ask(made, 'select id from api_keys')).toEqual([])
    expect(await ask(made, 'select id from audit_events')).toEqual([])
    // The proxy works: who has the first key, which the command line makes, is let in.
    const { secret } = await createKey(made)
    const headers = { Authorization: `Bearer ${secret}` }
    expect((await request(`${front.url}${ROOMS}`, { headers })).json).toMatchObject({ items: [] })
    expect((await request(`${front.url}${ROOMS}`)).status).toBe(401)
  })

  test(`through ${proxy.title} nothing is served without a credential where a setting says that others reach the server`, async (context) => {
    needs(context, proxy)
    for (const env of publicFaces) {
      await using app = await createTestApp({ ...unlimited, ...env })
      await using front = await startProxy(proxy, new URL(app.url).host)
      for (const headers of disguises) {
        for (const [surface, path] of surfaces) {
          const answer = await request(`${front.url}${path}`, { headers })
          expect(answer.status, `${surface} ${JSON.stringify({ env, headers })}`).toBe(401)
        }
        const write = { method: 'POST', headers: { ...FORM, ...headers }, body: form }
        expect((await request(`${front.url}${V2_ROOM}`, write)).status).toBe(401)
        for (const answer of await manageKeys(front.url, { headers })) {
          expect(answer.status, answer.text).toBe(401)
        }
      }
      expect(await ask(app, 'select id from rooms')).toEqual([])
      expect(await ask(app, 'select id from api_keys')).toEqual([])
    }
  })
}
