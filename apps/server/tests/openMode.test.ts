import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { BlockList } from 'node:net'
import { createTestDb, type TestDatabase } from '@dowell-chat/db/testing'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Config, readConfig } from '../src/config.ts'
import { createOpenMode } from '../src/http/caller/openMode.ts'
import { createKey } from './credentials.ts'
import { ask } from './database.ts'
import { FORM, form, manageKeys, messageOf, ROOMS, roomsOf, surfaces, V2_ROOM } from './openMode.ts'
import { answersIn, at, converse, hasIPv6, ownAddress, request } from './sockets.ts'
import { createTestApp, openRoom, type TestApp } from './support.ts'

describe('callers on this machine', () => {
  test.each([
    ['127.0.0.1', '127.0.0.1', '127.0.0.1'],
    ['127.0.0.1 from another loopback address', '127.0.0.1', '127.0.0.1', '127.0.0.9'],
    ['::1', '::1', '[::1]'],
  ])(
    '%s may do everything but manage keys and tokens',
    async (_name, host, called, localAddress?: string) => {
      if (host.includes(':') && !hasIPv6) return
      await using app = await createTestApp({ HOST: host })
      const url = at(app.url, called)
      const from = localAddress === undefined ? {} : { localAddress }
      const v2 = { ...from, method: 'POST', headers: FORM, body: form }
      expect((await request(`${url}${V2_ROOM}`, v2)).json).toMatchObject({ success: true })
      for (const [, path] of surfaces) {
        const answer = await request(`${url}${path}`, from)
        expect(answer.status, answer.text).toBe(200)
      }
      for (const answer of await manageKeys(url, from)) {
        expect(answer.status, answer.text).toBe(403)
        expect(answer.text).toMatch(/npm run cli -- keys create/)
      }
      expect(await ask(app, 'select id from api_keys')).toEqual([])
    },
  )
})

describe.skipIf(!ownAddress)('callers from elsewhere', () => {
  test('are let in by AUTH=open, under any name, with or without a key', async () => {
    await using app = await createTestApp({ HOST: '0.0.0.0', AUTH: 'open' })
    const url = at(app.url, String(ownAddress))
    const everybody = async () => {
      for (const [surface, path] of surfaces) {
        for (const headers of [
          {},
          { Host: 'chat.example.com', 'X-Forwarded-For': '203.0.113.9' },
        ]) {
          expect((await request(`${url}${path}`, { headers })).status, surface).toBe(200)
        }
      }
    }
    await everybody()
    await createKey(app)
    await everybody()
  })
})

describe('a server that others reach is not in open mode', () => {
  const signs: [env: Partial<Record<keyof Config, string>>, reason: string][] = [
    [{ HOST: '0.0.0.0' }, 'HOST is not a loopback address'],
    ...(hasIPv6 ? [[{ HOST: '::' }, 'HOST is not a loopback address'] as (typeof signs)[0]] : []),
    [{ TRUST_PROXY: 'loopback' }, 'TRUST_PROXY is set'],
    [{ CORS_ORIGINS: 'https://app.example.com' }, 'CORS_ORIGINS is set'],
    [{ CORS_ORIGINS: '*' }, 'CORS_ORIGINS is set'],
    [{ NODE_ENV: 'production' }, 'NODE_ENV is production'],
    [
      { NODE_ENV: 'production', HOST: '0.0.0.0', TRUST_PROXY: 'uniquelocal' },
      'HOST is not a loopback address and TRUST_PROXY is set and NODE_ENV is production',
    ],
  ]

  test.each(signs)('with %j it refuses every caller, and says why', async (env, reason) => {
    await using app = await createTestApp(env)
    const urls = [app.url, ...(ownAddress && env.HOST ? [at(app.url, ownAddress)] : [])]
    for (const url of urls) {
      for (const [surface, path] of surfaces) {
        for (const headers of [
          {},
          { Host: 'localhost', Origin: 'http://localhost' },
          { 'X-Forwarded-For': '127.0.0.1' },
        ]) {
          const answer = await request(`${url}${path}`, { headers })
          expect(answer.status, surface).toBe(401)
          expect(answer.headers['www-authenticate']).toMatch(/^Bearer/)
          expect(messageOf(answer.json)).toBe(
            `This server has no API key yet, and no open mode because ${reason}: make a key with "npm run cli -- keys create --org <organisation> --right admin", or set AUTH=open to let everyone do everything`,
          )
        }
      }
      for (const answer of await manageKeys(url)) expect(answer.status).toBe(401)
      const write = { method: 'POST', headers: { ...FORM, Host: 'localhost' }, body: form }
      expect((await request(`${url}${V2_ROOM}`, write)).json).toMatchObject({
        success: false,
        code: 'UNAUTHORIZED',
      })
      // What needs no credential is there for everyone.
      expect((await request(`${url}/healthz`)).status).toBe(200)
      expect((await request(`${url}/docs`)).status).toBe(200)
    }
    const { secret } = await createKey(app)
    const headers = { Authorization: `Bearer ${secret}` }
    expect((await request(`${app.url}${ROOMS}`, { headers })).json.items).toEqual([])
    // Once there is a key, nobody is told how to open the door.
    expect(messageOf((await request(`${app.url}${ROOMS}`)).json)).not.toMatch(/AUTH/)
  })

  test('with AUTH=open all the same nobody manages keys and tokens without a credential', async () => {
    await using app = await createTestApp({ AUTH: 'open', HOST: '0.0.0.0', NODE_ENV: 'production' })
    const { apiKey } = await createKey(app)
    expect(await roomsOf(app)).toEqual([])
    for (const answer of await manageKeys(app.url, {}, apiKey.id)) {
      expect(answer.status, answer.text).toBe(403)
      expect(answer.text).not.toContain(apiKey.id)
    }
    expect(await ask(app, 'select revoked_at from api_keys')).toEqual([{ revoked_at: null }])
  })

  test.each(['development', 'test', 'PRODUCTION', ''])(
    'NODE_ENV=%s says nothing',
    async (value) => {
      await using app = await createTestApp({ NODE_ENV: value })
      expect(await roomsOf(app)).toEqual([])
    },
  )
})

describe('what a web page could do', () => {
  let app: TestApp
  let port: string
  beforeAll(async () => {
    app = await createTestApp()
    port = new URL(app.url).port
  })
  afterAll(() => app[Symbol.asyncDispose]())

  test.each([
    'evil.com',
    'localhost.evil.com',
    '127.0.0.1.evil.com',
    'evillocalhost',
    'localhost.evil.com:3000',
    '127.0.0.1:80@evil.com',
    'evil.com@localhost',
    'localhost@evil.com',
    'evil.com/@localhost',
    'evil.com\\@localhost',
    'localhost#.evil.com',
    'localhost/.evil.com',
    'localhost, evil.com',
    'localhost evil.com',
    '0.0.0.0',
    '192.168.1.10',
    '10.0.0.1',
    '128.0.0.1',
    '[::]',
    '[::2]',
    '[::ffff:10.0.0.1]',
    'undefined',
    '',
  ])('the Host %j is refused on every surface', async (host) => {
    for (const [surface, path] of surfaces) {
      const bytes = `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`
      const [answer] = answersIn(await converse(app.url, bytes))
      expect([400, 403], surface).toContain(answer?.status)
    }
    const bytes = `POST ${V2_ROOM} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: ${FORM['Content-Type']}\r\nContent-Length: ${form.length}\r\nConnection: close\r\n\r\n${form}`
    const [answer] = answersIn(await converse(app.url, bytes))
    // What is no name at all is no good request.
    const status = host === '' || /[@/\\#, ]/.test(host) ? 400 : 403
    expect(answer?.status).toBe(status)
    expect(answer?.json.message).toMatch(
      status === 403 ? /such as localhost/ : /must name one host/,
    )
    expect(await roomsOf(app)).toEqual([])
  })

  test.each([
    'localhost',
    'LOCALHOST',
    'localhost:3000',
    'chat.localhost',
    'a.b.localhost:8080',
    '127.0.0.1',
    '127.0.0.1:9',
    '127.255.3.4:80',
    '[::1]',
    '[::1]:3000',
    '[0:0:0:0:0:0:0:1]',
    '[::ffff:127.0.0.1]:3000',
  ])('the Host %j is a name of this machine', async (host) => {
    const answer = await request(`${app.url}${ROOMS}`, { headers: { Host: host } })
    expect(answer.status, answer.text).toBe(200)
  })

  test('the name in the request line counts, if there is one', async () => {
    const ask = async (target: string, host: string) => {
      const bytes = `GET ${target}${ROOMS} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`
      return answersIn(await converse(app.url, bytes))[0]?.status
    }
    expect(await ask('http://evil.com', 'localhost')).toBe(403)
    expect(await ask(`HTTP://evil.com:${port}`, 'localhost')).toBe(403)
    expect(await ask('http://localhost@evil.com', 'localhost')).toBe(400)
    expect(await ask('http://evil.com@localhost', 'localhost')).toBe(400)
    expect(await ask(`http://localhost:${port}`, 'evil.com')).toBe(200)
    expect(await ask(`http://127.0.0.1:${port}`, '127.0.0.1')).toBe(200)
  })

  test('two Hosts or none are a bad request, and HTTP/1.0 without one is refused as well', async () => {
    const ask = async (version: string, ...headers: string[]) =>
      answersIn(
        await converse(
          app.url,
          [`GET ${ROOMS} HTTP/${version}`, ...headers, 'Connection: close', '', ''].join('\r\n'),
        ),
      )[0]
    for (const hosts of [[], ['Host: localhost', 'Host: evil.com'], ['Host: a', 'Host: a']]) {
      expect(await ask('1.1', ...hosts)).toMatchObject({
        status: 400,
        json: { code: 'BAD_REQUEST', message: 'The Host header must name one host' },
      })
    }
    expect(await ask('1.0')).toMatchObject({ status: 401, json: { code: 'UNAUTHORIZED' } })
    // Nobody but a proxy speaks it, and such a one names a local Host.
    expect((await ask('1.0', 'Host: localhost'))?.json.message).toMatch(/without a proxy/)
  })

  test.each([
    'http://evil.com',
    'https://evil.com:443',
    'null',
    'http://localhost.evil.com',
    'http://127.0.0.1.evil.com:3000',
    'http://evil.com:80@localhost',
    'http://localhost@evil.com',
    'http://192.168.1.10',
    'http://0.0.0.0:3000',
    'file://',
    'chrome-extension://localhost',
    'http://localhost http://evil.com',
    'localhost',
    '',
  ])('the Origin %j is refused, although a form needs no preflight', async (origin) => {
    for (const body of [FORM, { 'Content-Type': 'text/plain' }]) {
      const answer = await request(`${app.url}${V2_ROOM}`, {
        method: 'POST',
        headers: { ...body, Origin: origin },
        body: form,
      })
      expect(answer.status).toBe(403)
      expect(answer.json).toMatchObject({ success: false, code: 'FORBIDDEN' })
      expect(answer.headers).not.toHaveProperty('access-control-allow-origin')
    }
    for (const [surface, path] of surfaces) {
      const answer = await request(`${app.url}${path}`, { headers: { Origin: origin } })
      expect(answer.status, surface).toBe(403)
    }
    expect(await roomsOf(app)).toEqual([])
  })

  test('a GET that writes is no way in either: a link or an image of a foreign page', async () => {
    await using own = await createTestApp()
    const id = await openRoom(own)
    const path = `/api/v2/room-service/?type=delete_room&room_id=${id}`
    const fromImage = { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'no-cors' }
    const fromLink = { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'navigate' }
    for (const headers of [fromImage, fromLink]) {
      expect((await request(`${own.url}${path}`, { headers })).status).toBe(403)
    }
    expect(await roomsOf(own)).toMatchObject([{ isActive: true }])
    for (const site of ['none', 'same-origin', 'same-site']) {
      const answer = await request(`${own.url}${path}`, { headers: { 'Sec-Fetch-Site': site } })
      expect(answer.status, site).toBe(200)
    }
  })

  test.each([
    'http://localhost',
    'http://localhost:5173',
    'https://localhost:5173',
    'http://app.localhost:8080',
    'http://127.0.0.1:5500',
    'http://[::1]:4000',
  ])('the Origin %j may call', async (origin) => {
    // Another site by a browser's reckoning, but on this machine.
    const headers = { Origin: origin, 'Sec-Fetch-Site': 'cross-site' }
    for (const [surface, path] of surfaces) {
      const answer = await request(`${app.url}${path}`, { headers })
      expect(answer.status, surface).toBe(200)
      expect(answer.headers['access-control-allow-origin']).toBe(origin)
    }
  })
})

const forgeries = [
  'X-Forwarded-For',
  'X-Forwarded-Host',
  'X-Forwarded-Proto',
  'X-Forwarded',
  'Forwarded-For',
  'X-Real-IP',
  'X-Client-IP',
  'X-Cluster-Client-IP',
  'X-Original-Forwarded-For',
  'CF-Connecting-IP',
  'True-Client-IP',
  'Fastly-Client-IP',
  'Fly-Client-IP',
  'X-Azure-ClientIP',
  'X-Envoy-External-Address',
]

test('Sec-Fetch-Site is compared without case', async () => {
  await using app = await createTestApp()
  for (const site of ['cross-site', 'Cross-Site', 'CROSS-SITE']) {
    for (const [surface, path] of surfaces) {
      const answer = await request(`${app.url}${path}`, { headers: { 'Sec-Fetch-Site': site } })
      expect(answer.status, `${surface} ${site}`).toBe(403)
    }
  }
})

test('an Authorization header without a credential is none', async () => {
  await using app = await createTestApp({ RATE_LIMIT_FAILURES: '20' })
  const forms = ['', 'Bearer', 'Bearer ', 'bearer  ', ' ']
  for (const [surface, path] of surfaces) {
    for (const Authorization of forms) {
      const answer = await request(`${app.url}${path}`, { headers: { Authorization } })
      expect(answer.status, `${surface} ${JSON.stringify(Authorization)}`).toBe(200)
    }
    for (const Authorization of [
      'Bearer x',
      'Basic',
      'Bearer {{bearerToken}}',
      'Bearer , Bearer',
    ]) {
      const answer = await request(`${app.url}${path}`, { headers: { Authorization } })
      expect(answer.status, `${surface} ${Authorization}`).toBe(401)
    }
  }
  await createKey(app)
  for (const [surface, path] of surfaces) {
    const answer = await request(`${app.url}${path}`, { headers: { Authorization: 'Bearer ' } })
    expect(answer.status, surface).toBe(401)
  }
})

describe('behind a proxy', () => {
  const loopback = ['127.0.0.1', '::1', 'localhost']

  test('nothing that a caller says of itself opens the door, and what a proxy says closes it', async () => {
    await using app = await createTestApp()
    const forged: Record<string, string>[] = [
      ...forgeries.flatMap((name) => loopback.map((value) => ({ [name]: value }))),
      { Forwarded: 'for=127.0.0.1;host=localhost' },
      { Via: '1.1 proxy' },
      { 'X-Forwarded-For': '' },
      Object.fromEntries(forgeries.map((name) => [name, '127.0.0.1'])),
    ]
    for (const headers of forged) {
      const local = await request(`${app.url}${ROOMS}`, { headers })
      expect(local.status, JSON.stringify(headers)).toBe(401)
      expect(local.json.message).toMatch(/without a proxy between/)
    }
  })

  test('not even after more headers than node looks at by itself', async () => {
    await using app = await createTestApp()
    const many = Array.from({ length: 2500 }, () => 'a:\r\n').join('')
    const ask = async (last: string) => {
      const bytes = `GET ${ROOMS} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${many}${last}\r\n`
      return answersIn(await converse(app.url, bytes))[0]?.status
    }
    expect(await ask('')).toBe(200)
    expect(await ask('X-Forwarded-For: 203.0.113.9\r\n')).toBe(401)
  })

  /** A little proxy, as honest as they come: it passes requests on and says for whom. */
  async function createProxy(target: string, named = (peer: string) => peer) {
    const proxy = http.createServer(async (req, res) => {
      const before = req.headers['x-forwarded-for']
      const peer = named(String(req.socket.remoteAddress))
      const answer = await request(`${target}${req.url}`, {
        method: String(req.method),
        headers: { ...req.headers, 'x-forwarded-for': before ? `${before}, ${peer}` : peer },
      })
      res.writeHead(answer.status, { 'Content-Type': 'application/json' }).end(answer.text)
    })
    proxy.listen(0, '0.0.0.0')
    await once(proxy, 'listening')
    return {
      url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
      async [Symbol.asyncDispose]() {
        proxy.closeAllConnections()
        proxy.close()
      },
    }
  }

  test('one on this machine that nobody trusts makes everybody foreign', async () => {
    await using app = await createTestApp()
    await using proxy = await createProxy(app.url)
    expect((await request(`${proxy.url}${ROOMS}`)).status).toBe(401)
    const forged = { headers: { 'X-Forwarded-For': '127.0.0.1' } }
    expect((await request(`${proxy.url}${ROOMS}`, forged)).status).toBe(401)
  })
})

describe('any name and any address', () => {
  let db: TestDatabase
  beforeAll(async () => {
    db = await createTestDb()
  })
  afterAll(() => db?.[Symbol.asyncDispose]())

  /** What a caller gets: its status, as if it had come by a socket from this address. */
  async function statusOf(
    caller: {
      address?: string
      host?: string
      origin?: string
      forwarded?: string
    },
    env: Partial<Record<keyof Config, string>> = {},
  ): Promise<number> {
    const { address = '127.0.0.1', host = 'localhost', origin, forwarded } = caller
    const headers = {
      host,
      ...(origin === undefined ? {} : { origin }),
      ...(forwarded === undefined ? {} : { 'x-forwarded-for': forwarded }),
    }
    const req = { httpVersion: '1.1', headers, socket: { remoteAddress: address } }
    return createOpenMode(readConfig(env), db)
      .assertAnonymousAllowed(req as IncomingMessage)
      .then(
        () => 200,
        (error) => (error.code === 'UNAUTHORIZED' ? 401 : error.code === 'FORBIDDEN' ? 403 : 500),
      )
  }

  const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?$/)
  const port = fc.option(fc.nat(65_535).map((number) => `:${number}`)).map((text) => text ?? '')
  const upperOrLower = (text: string) =>
    fc
      .array(fc.boolean(), { minLength: text.length, maxLength: text.length })
      .map((upper) =>
        [...text].map((letter, i) => (upper[i] ? letter.toUpperCase() : letter)).join(''),
      )
  const byte = fc.nat(255)
  const localName = fc.oneof(
    upperOrLower('localhost'),
    fc
      .array(label, { minLength: 1, maxLength: 3 })
      .map((labels) => [...labels, 'localhost'].join('.')),
    fc.tuple(byte, byte, byte).map((bytes) => `127.${bytes.join('.')}`),
    fc.constantFrom('[::1]', '[0:0::1]', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]'),
  )
  const foreignName = fc.oneof(
    fc
      .tuple(localName, label, fc.constantFrom('com', 'test', 'localhosts'))
      .map(([local, name, tld]) => `${local}.${name}.${tld}`),
    fc.tuple(label, fc.constantFrom('com', 'local', 'internal')).map((parts) => parts.join('.')),
    label
      .filter((name) => !/^(localhost|127)$/.test(name) && !/^[\d.x]+$/.test(name))
      .map((name) => `${name}localhost`),
    fc
      .tuple(
        byte.filter((first) => first !== 127),
        byte,
        byte,
        byte,
      )
      .map((bytes) => bytes.join('.')),
    fc
      .ipV6()
      .filter((address) => !isLocal(address))
      .map((address) => `[${address}]`),
  )
  const loopback = new BlockList()
  loopback.addSubnet('127.0.0.0', 8, 'ipv4')
  loopback.addAddress('::1', 'ipv6')
  const isLocal = (address: string) =>
    loopback.check(address, address.includes(':') ? 'ipv6' : 'ipv4')

  test('a Host is local or it is not', async () => {
    await fc.assert(
      fc.asyncProperty(localName, port, async (name, port) => {
        expect(await statusOf({ host: name + port })).toBe(200)
        expect(await statusOf({ origin: `http://${name}${port}` })).toBe(200)
        expect(await statusOf({ origin: `https://${name}${port}` })).toBe(200)
      }),
    )
    await fc.assert(
      fc.asyncProperty(foreignName, port, async (name, port) => {
        expect(await statusOf({ host: name + port })).toBe(403)
        expect(await statusOf({ origin: `http://${name}${port}` })).toBe(403)
      }),
    )
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary' }), async (text) => {
        // Nothing makes it fail, and no name that has more to it than a name and a port is local.
        const status = await statusOf({ host: text, origin: `http://${text}` })
        expect([200, 403]).toContain(status)
        if (/[/@\\?#\s]/.test(text)) expect(status).toBe(403)
      }),
    )
  })

  test('an address is of this machine or it is not', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.ipV4(),
          fc.ipV6().filter((address) => !address.includes('.')),
          fc.ipV4().map((ip) => `::ffff:${ip}`),
          fc.tuple(byte, byte, byte).map((b) => `127.${b.join('.')}`),
        ),
        async (address) => {
          const expected = isLocal(address) ? 200 : 401
          expect(await statusOf({ address })).toBe(expected)
          expect(await statusOf({ address, forwarded: address })).toBe(401)
        },
      ),
    )
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary' }), async (text) => {
        fc.pre(!/^(127\.|::1$|::ffff:)/i.test(text.trim()))
        expect(await statusOf({ address: text })).toBe(401)
        expect(await statusOf({ forwarded: text })).toBe(401)
      }),
    )
  })

  test('AUTH=open asks for none of that', async () => {
    const caller = { address: '203.0.113.9', host: 'evil.com', origin: 'https://evil.com' }
    expect(await statusOf(caller)).toBe(401)
    expect(await statusOf(caller, { AUTH: 'open' })).toBe(200)
  })
})
