import { atServer } from '@dowell-chat/db/testing'
import { expect, test } from 'vitest'
import { startPostgres } from '../../../../packages/db/tests/postgresServer.ts'
import { createTestApp, json, openRoom } from '../support.ts'

test('a server whose database is a standby is not ready, and is ready again after the promotion', async () => {
  const postgres = await startPostgres()
  await using closing = new AsyncDisposableStack()
  closing.defer(() => postgres.stop())
  const app = closing.use(await createTestApp({ DATABASE_URL: postgres.url }))
  const room = await openRoom(app)
  const ready = async () => {
    const response = await app.fetch('/readyz')
    return { status: response.status, ...((await response.json()) as object) }
  }
  const send = () =>
    app.fetch(
      `/api/v3/rooms/${room}/messages`,
      json({ messageData: 'message', side: false, author: 'client' }),
    )
  expect(await ready()).toEqual({ status: 'ok' })
  await postgres.becomeStandby()
  await expect.poll(ready).toEqual({
    status: 'unavailable',
    reason: 'the database is a standby that was not promoted',
  })
  const refused = await send()
  expect(refused.status).toBe(503)
  expect(refused.headers.get('Retry-After')).toBe('1')
  await atServer(postgres.url, 'select pg_promote()')
  await expect.poll(ready).toEqual({ status: 'ok' })
  expect((await send()).status).toBe(201)

  await atServer(postgres.url, 'alter system set default_transaction_read_only = on')
  await atServer(postgres.url, 'select pg_reload_conf()')
  await expect.poll(ready).toEqual({
    status: 'unavailable',
    reason: 'the database is read-only: default_transaction_read_only is on',
  })
})
