import { type CallName, callNames, operationNamed } from '@dowell-chat/api'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  bearer,
  createOrganisation,
  type Organisation,
  signingKey,
  signingKeysOf,
  unlimited,
} from '../credentials.ts'
import { fixtures } from '../fixtures.ts'
import { type Answer, send } from '../http.ts'
import { type ServerProcess, startServerFrom } from '../serverProcess.ts'
import { createTestApp, type TestApp } from '../support.ts'

// Our own edge answers REST v3, and trpc-to-openapi's handler can serve the same router. Each operation is called both ways;
// the tests name the differences:
// 1. The adapter answers 200 to everything; ours has 201 where something was created.
// 2. The adapter replaces the message of a rejected input and names no field.
// 3. The adapter repeats tRPC's error data (`data`, with the path) in the body; ours has `requestId` and `errors`.
// 4. The adapter serves no subscriptions; ours serves them as server-sent events.

let app: TestApp
let adapter: ServerProcess
/** Two organisations with the same content: one is called through our edge, the other through the adapter. */
let ours: Organisation
let theirs: Organisation

beforeAll(async () => {
  const env = { ...unlimited, TOKEN_SIGNING_KEYS: signingKeysOf(signingKey) }
  app = await createTestApp(env)
  ours = await createOrganisation(app, 'ours__')
  theirs = await createOrganisation(app, 'theirs')
  adapter = await startServerFrom('tests/adapterServer.ts', {
    ...env,
    DATABASE_URL: app.databaseUrl,
  })
})

afterAll(async () => {
  await adapter?.[Symbol.asyncDispose]()
  await app?.[Symbol.asyncDispose]()
})

/** An answer without what differs between any two calls: ids, times, secrets, cursors, and whose it is. */
function comparable({ status, text }: Answer, of: Organisation) {
  const masked = text
    .replaceAll(of.id, '<org>')
    .replace(/"(before|after|cursor)":"[^"]*"/g, '"$1":"<cursor>"')
    .replace(/dck_[\w-]+|eyJ[\w.-]+/g, '<secret>')
    .replace(/FB101\d+#\d+/g, '<event id>')
    .replace(/\b[0-9a-f]{24}\b/g, '<id>')
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '<time>')
    .replace(/"expiresInMs":\d+/g, '"expiresInMs":"<time left>"')
  return { status, body: JSON.parse(masked) }
}

interface Call {
  readonly input: Record<string, unknown>
  /** By default an admin key. */
  readonly credential?: string
}

/** The same request, through our edge and through the adapter. */
async function callBoth(name: CallName, callOf: (of: Organisation) => Call) {
  const answers = [
    { server: app, of: ours },
    { server: adapter, of: theirs },
  ].map(async ({ server, of }) => {
    const { input, credential = of.keys.admin.secret } = callOf(of)
    const { method, path } = operationNamed(name).rest
    const fields = { ...input }
    const url = path.replace(/\{(\w+)\}/g, (_, key: string) => {
      const value = String(fields[key])
      delete fields[key]
      return encodeURIComponent(value)
    })
    const isBody = method !== 'GET' && method !== 'DELETE'
    const texts = Object.fromEntries(
      Object.entries(fields).map(([key, value]) => [key, String(value)]),
    )
    const query = isBody ? '' : `?${new URLSearchParams(texts)}`
    const answer = await send(server, {
      path: url + query,
      method,
      headers: {
        ...bearer(credential),
        ...(isBody ? { 'Content-Type': 'application/json' } : {}),
      },
      body: isBody ? JSON.stringify(fields) : undefined,
    })
    return comparable(answer, of)
  })
  const [edge, library] = await Promise.all(answers)
  return { edge, library } as { edge: Comparable; library: Comparable }
}

type Comparable = ReturnType<typeof comparable>

/** The part of an error body that both have. */
function errorOf({ status, body }: Comparable) {
  return { status, code: body.code, message: body.message }
}

const sender = { side: true, author: 'anyone' }

describe.each(callNames)('%s', (name) => {
  const input = (of: Organisation): Record<string, unknown> => fixtures[name].input(of, sender)

  test('answers the same body as the adapter', async () => {
    const { edge, library } = await callBoth(name, (of) => ({ input: input(of) }))
    expect(edge.body).toEqual(library.body)
    // Difference 1.
    const isCreated = operationNamed(name).rest.created?.(edge.body as never) ?? false
    expect(edge.status, JSON.stringify(edge.body)).toBe(isCreated ? 201 : 200)
    expect(library.status).toBe(200)
  })

  test('refuses an unknown field with the same status', async () => {
    const bad = (of: Organisation) => ({ input: { ...input(of), unheardOf: '1' } })
    const { edge, library } = await callBoth(name, bad)
    expect([edge.status, library.status]).toEqual([400, 400])
    expect(edge.body.code).toBe(library.body.code)
    // Difference 2.
    expect(edge.body.errors).toEqual({ unheardOf: ['is not a known key'] })
    expect(library.body).not.toHaveProperty('errors.unheardOf')
  })

  const isForbiddenToReaders = operationNamed(name).access.readKey === 'none'
  if (isForbiddenToReaders)
    test('refuses a read key with the same error', async () => {
      const reader = (of: Organisation) => ({ input: input(of), credential: of.keys.read.secret })
      const { edge, library } = await callBoth(name, reader)
      expect(errorOf(edge)).toEqual(errorOf(library))
      expect(edge.status).toBe(403)
    })

  const isAboutData = fixtures[name].about !== 'caller'
  if (isAboutData)
    test('refuses another organisation with the same error', async () => {
      const foreign = (of: Organisation) => ({
        input: input(of),
        credential: (of === ours ? theirs : ours).keys.admin.secret,
      })
      const { edge, library } = await callBoth(name, foreign)
      expect(errorOf(edge)).toEqual(errorOf(library))
      expect(edge.status).toBe(404)
    })
})
