import { createTestStore } from '@dowell-chat/db/testing'
import { decodeJwt, decodeProtectedHeader, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hasBrowser, launchBrowser, requiresBrowser } from './chromium.ts'
import {
  as,
  bearer,
  createOrganisation,
  type Organisation,
  signingKey,
  signingKeysOf,
  unlimited,
} from './credentials.ts'
import { EventReader, outcomeOfStream, streamVariants, trpcPath } from './eventReader.ts'
import { startServer } from './serverProcess.ts'
import { createTestApp, type TestApp } from './support.ts'

const ORG = 'DOWELL12345'

describe('a stream token', () => {
  let app: TestApp
  let org: Organisation
  beforeAll(async () => {
    app = await createTestApp({ ...unlimited, TOKEN_SIGNING_KEYS: signingKeysOf(signingKey) })
    org = await createOrganisation(app, ORG)
  })
  afterAll(() => app?.[Symbol.asyncDispose]())

  const inbox = (token: string) => `/api/v3/events?orgId=${ORG}&streamToken=${token}`
  const statusOf = async (token: string) => (await app.fetch(inbox(token))).status

  test('a stream token expires after ten minutes, or with the token that created it', async () => {
    const admin = as(app, org.keys.admin.secret)
    const short = await admin.createUserToken({
      orgId: ORG,
      userId: 'a',
      side: true,
      expiresIn: 60,
    })
    const now = Date.now()
    const long = await as(app, org.tokens.support).createStreamToken({})
    expect(Math.abs(long.expiresAt.getTime() - now - 600_000)).toBeLessThan(5_000)
    expect((decodeJwt(long.token).exp as number) * 1000).toBe(long.expiresAt.getTime())
    const bounded = await as(app, short.token).createStreamToken({})
    expect(bounded.expiresAt).toEqual(short.expiresAt)
    expect(bounded.expiresInMs).toBeLessThanOrEqual(short.expiresInMs)
    expect(long.expiresInMs).toBeGreaterThan(590_000)
    expect(long.expiresInMs).toBeLessThanOrEqual(600_000)
  })

  test('a stream token is no credential, and a credential is no stream token', async () => {
    const { token } = await as(app, org.keys.admin.secret).createStreamToken({})
    for (const path of ['/api/v3/rooms', '/api/v3/events', '/api/v2/room-list/']) {
      const query = `?orgId=${ORG}&org_id=${ORG}`
      expect((await app.fetch(path + query, { headers: bearer(token) })).status, path).toBe(401)
      if (path === '/api/v3/events') continue
      const inQuery = await app.fetch(`${path}${query}&streamToken=${token}`)
      expect(inQuery.status, path).toBe(401)
    }
    const call = `/trpc/listRooms?input=${encodeURIComponent(JSON.stringify({ json: { orgId: ORG } }))}`
    expect((await app.fetch(`${call}&streamToken=${token}`)).status).toBe(401)
    for (const credential of [org.keys.admin.secret, org.tokens.support, 'garbage', '']) {
      expect(await statusOf(credential)).toBe(401)
    }
  })

  test('accepts a stream token repeatedly, but not next to another credential', async () => {
    const { token } = await as(app, org.tokens.support).createStreamToken({})
    for (const variant of streamVariants) {
      for (let number = 0; number < 2; number++) {
        const input = { orgId: ORG, roomId: org.room, userId: org.customer }
        const { orgId: _, ...room } = { orgId: ORG, roomId: org.room }
        const { roomId: __, ...user } = input
        const own = { onRoomEvents: room, onInboxEvents: { orgId: ORG }, onUserEvents: user }
        await using reader = await variant.open(app, own[variant.name], {}, `&streamToken=${token}`)
        expect(await outcomeOfStream(reader), variant.title).toBe(200)
      }
    }
    await using both = await EventReader.open(app, inbox(token), bearer(org.tokens.support))
    expect(both.status).toBe(401)
  })

  test('rejects a tampered stream token', async () => {
    const { token } = await as(app, org.tokens.customer).createStreamToken({})
    const { iat, exp, iss, aud, actor } = decodeJwt(token) as {
      iat: number
      exp: number
      iss: string
      aud: string
      actor: Record<string, unknown>
    }
    const head = decodeProtectedHeader(token) as { alg: string; typ: string; kid: string }
    const forge = (change: object, key = signingKey.secret, header: object = {}) =>
      new SignJWT({ iat, exp, iss, aud, actor, ...change })
        .setProtectedHeader({ ...head, ...header })
        .sign(key)
    expect(await statusOf(await forge({}))).toBe(200)
    const bent = [
      await forge({}, Buffer.alloc(32, 8)),
      await forge({}, signingKey.secret, { typ: 'JWT' }),
      await forge({}, signingKey.secret, { typ: 'dowell-chat-user+jwt' }),
      await forge({ iat: iat - 600, exp: Math.floor(Date.now() / 1000) - 61 }),
      await forge({ iat: undefined }),
      await forge({ exp: iat + 601 }),
      await forge({ exp: undefined }),
      await forge({ actor: { ...actor, kind: 'root' } }),
      await forge({ actor: { ...actor, keyId: 'f'.repeat(24) } }),
      await forge({ actor: { ...actor, keyId: undefined } }),
      // As in open mode, which is over.
      await forge({ actor: { kind: 'open', via: 'http' } }),
      token.slice(0, -2),
    ]
    for (const [index, each] of bent.entries())
      expect([index, await statusOf(each)]).toEqual([index, 401])
  })

  test('no log line has a stream token', async () => {
    const { token } = await as(app, org.tokens.customer).createStreamToken({})
    for (const path of [
      inbox(token),
      `${trpcPath('onInboxEvents', { orgId: ORG })}&streamToken=${token}`,
    ]) {
      await using reader = await EventReader.open(app, path)
      expect(await outcomeOfStream(reader)).toBe(200)
    }
    await app.fetch(`/api/v3/nowhere/${token}`)
    expect(JSON.stringify(app.log)).not.toContain(token.split('.')[2])
  })
})

describe.runIf(hasBrowser || requiresBrowser)('EventSource of a real browser', () => {
  test('an EventSource listens with a stream token and resumes after a restart of the server', async () => {
    await using store = await createTestStore()
    const env = { DATABASE_URL: store.url, LOG_LEVEL: 'info' }
    const first = await startServer(env)
    const { port } = new URL(first.url)
    const org = await createOrganisation({ ...first, databaseUrl: env.DATABASE_URL } as never, ORG)
    const customer = as(first as never, org.tokens.customer)
    const say = (text: string) =>
      customer.createMessage({
        roomId: org.room,
        messageData: text,
        side: false,
        author: org.customer,
      })
    const { token } = await customer.createStreamToken({})
    const browser = await launchBrowser()
    try {
      const page = await browser.newPage()
      await page.route(`${first.url}/page`, (route) =>
        route.fulfill({ contentType: 'text/html', body: '<!doctype html><title>A page</title>' }),
      )
      await page.goto(`${first.url}/page`)
      await page.evaluate(listen, `/api/v3/rooms/${org.room}/events?streamToken=${token}`)
      await page.waitForFunction(() => told.some(({ type }) => type === 'ready'))
      await say('one')
      await page.waitForFunction(() => told.some(({ text }) => text === 'one'))
      const { stderr } = await first.kill('SIGKILL')
      expect(stderr).not.toContain(token.split('.')[2])

      await using second = await startServer({ ...env, PORT: port })
      await say('two')
      await page.waitForFunction(() => told.some(({ text }) => text === 'two'))
      await say('three')
      await page.waitForFunction(() => told.some(({ text }) => text === 'three'))
      const texts = await page.evaluate(() => told.flatMap(({ text }) => text ?? []))
      expect(texts).toEqual(['one', 'two', 'three'])
      await page.close()
      const ended = await second.kill('SIGTERM')
      expect(ended.stderr).toContain('/events')
      expect(ended.stderr).not.toContain(token.split('.')[2])
    } finally {
      await browser.close()
    }
  })
})

interface Heard {
  type: string
  text?: string
}
declare let told: Heard[]
declare const window: { told: Heard[] }
declare class EventSource {
  constructor(url: string)
  onmessage: (event: { data: string }) => void
}

/** Runs in the page. */
function listen(url: string): void {
  window.told = []
  const source = new EventSource(url)
  source.onmessage = ({ data }) => {
    const { type, message } = JSON.parse(data)
    window.told.push({ type, text: message?.messageData })
  }
}
