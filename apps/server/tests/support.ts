import { createTestStore } from '@dowell-chat/db/testing'
import pino from 'pino'
import { createApp, type Overrides } from '../src/app.ts'
import { type Config, readConfig } from '../src/config.ts'
import { recordServerLog } from './serverLogs.ts'

export interface TestApp extends AsyncDisposable {
  readonly url: string
  readonly databaseUrl: string
  /** Every log line so far, parsed. */
  readonly log: Record<string, unknown>[]
  /** Requests one of this server's paths. */
  fetch(path: string, init?: RequestInit): Promise<Response>
  close(): Promise<void>
}

/** The whole server on a free port, with a database of its own: `await using app = await createTestApp()`. */
export async function createTestApp(
  env: Partial<Record<keyof Config, string>> = {},
  overrides: Overrides = {},
): Promise<TestApp> {
  const store = env.DATABASE_URL === undefined ? await createTestStore() : undefined
  const databaseUrl = env.DATABASE_URL ?? store?.url ?? ''
  const log: Record<string, unknown>[] = []
  const logger = pino({ level: 'trace' }, { write: (line) => log.push(JSON.parse(line)) })
  const config = readConfig({ PORT: '0', ...env, DATABASE_URL: databaseUrl })
  // On a busy machine a query may wait long for a connection. Tests of outages bring a database of their own.
  const connectTimeout = store ? { connectTimeout: 60_000 } : {}
  const app = createApp(config, logger, { checkOutputs: true, ...connectTimeout, ...overrides })
  let isClosed = false
  recordServerLog({
    server: 'the test server',
    lines: () => log.map((line) => JSON.stringify(line)),
    isClosed: () => isClosed,
  })
  const { url } = await app.start()
  return {
    url,
    databaseUrl,
    log,
    fetch: (path, init) => fetch(`${url}${path}`, init),
    close: () => app.close(),
    async [Symbol.asyncDispose]() {
      await app.close()
      isClosed = true
      await store?.[Symbol.asyncDispose]()
    },
  }
}

/** A POST of JSON, as most callers send it. */
export function json(body: unknown, method = 'POST'): RequestInit {
  return { method, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }
}

export const documentedRoom = {
  user_id: 'ABCD12345',
  org_id: 'DOWELL12345',
  portfolio_name: 'umair',
  product_name: 'WIFIQRCODE',
}

/** Opens a room over REST v3 and answers its id. */
export async function openRoom(
  app: TestApp,
  user = 'ABCD12345',
  org = 'DOWELL12345',
): Promise<string> {
  const response = await app.fetch(
    '/api/v3/rooms',
    json({ userId: user, orgId: org, portfolioName: 'umair', productName: 'WIFIQRCODE' }),
  )
  const { room } = (await response.json()) as { room: { id: string } }
  return room.id
}
