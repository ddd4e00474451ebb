import { createTestStore } from '@dowell-chat/db/testing'
import { expect, test } from 'vitest'
import { createKey } from './credentials.ts'
import { FORM, form, messageOf, ROOMS, roomsOf, surfaces, V2_ROOM } from './openMode.ts'
import { type Ended, startServer } from './serverProcess.ts'
import { request } from './sockets.ts'
import { createTestApp, type TestApp } from './support.ts'

async function closed(app: TestApp): Promise<void> {
  for (const [surface, path] of surfaces) {
    const answer = await request(`${app.url}${path}`)
    expect(answer.status, surface).toBe(401)
    // Nobody is told how to open the door.
    expect(messageOf(answer.json)).not.toMatch(/AUTH/)
  }
  const write = await request(`${app.url}${V2_ROOM}`, {
    method: 'POST',
    headers: FORM,
    body: form,
  })
  expect(write.status).toBe(401)
  const preflight = await request(`${app.url}${ROOMS}`, {
    method: 'OPTIONS',
    headers: { Origin: 'http://localhost:5173', 'Access-Control-Request-Method': 'GET' },
  })
  expect(preflight.headers).not.toHaveProperty('access-control-allow-origin')
}

test('the first key ends open mode at once, for good, and also when it is revoked', async () => {
  await using app = await createTestApp()
  expect(await roomsOf(app)).toEqual([])
  const { secret, apiKey } = await createKey(app)
  await closed(app)
  const headers = { Authorization: `Bearer ${secret}` }
  expect((await request(`${app.url}${ROOMS}`, { headers })).status).toBe(200)
  const revoked = await request(`${app.url}/api/v3/api-keys/${apiKey.id}`, {
    method: 'DELETE',
    headers,
  })
  expect(revoked.json.revokedAt).toEqual(expect.any(String))
  await closed(app)
  expect((await request(`${app.url}${ROOMS}`, { headers })).status).toBe(401)
  await using again = await createTestApp({ DATABASE_URL: app.databaseUrl })
  await closed(again)
})

test('the first key ends it also for another process on the same database', async () => {
  await using app = await createTestApp()
  expect(await roomsOf(app)).toEqual([])
  await using other = await createTestApp({ DATABASE_URL: app.databaseUrl })
  await createKey(other)
  await closed(app)
})

/** What the real program says from its start to its end. */
async function start(env: Record<string, string>): Promise<Ended> {
  await using server = await startServer({ LOG_LEVEL: 'info', ...env })
  // What it writes at the start it has written when it answers.
  await request(`${server.url}/healthz`)
  return await server.kill('SIGTERM')
}

test('the start tells the operator who is let in without a credential, and what to do', async () => {
  await using empty = await createTestStore()
  await using other = await createTestStore()
  await using app = await createTestApp()
  await createKey(app)
  const withKey = { DATABASE_URL: app.databaseUrl }
  const [open, closed, keys, outright] = await Promise.all([
    start({ DATABASE_URL: empty.url }),
    start({ DATABASE_URL: other.url, HOST: '0.0.0.0' }),
    start(withKey),
    start({ ...withKey, AUTH: 'open' }),
  ])
  const command = /^ {2}npm run cli -- keys create --org <organisation> --right admin$/m
  expect(open.stderr).toMatch(/"level":40.*no API key yet.*callers on this machine/)
  expect(open.stdout).toMatch(/Through a proxy .* everyone could read and write all rooms/)
  expect(open.stdout).toMatch(command)
  expect(closed.stderr).toMatch(/"level":40.*Nobody is let in.*HOST is not a loopback address/)
  expect(closed.stdout).toMatch(/no open mode because HOST is not a loopback address/)
  expect(closed.stdout).toMatch(command)
  // Every address is none to call.
  expect(closed.stdout).toMatch(/REST +http:\/\/127\.0\.0\.1:\d+\/api\/v3/)
  expect(keys.stderr).not.toMatch(/"level":40/)
  expect(keys.stdout).not.toMatch(/key/)
  expect(outright.stderr).toMatch(/"level":40.*AUTH=open lets everyone/)
  expect(outright.stdout).toMatch(/AUTH=open lets everyone/)
})
