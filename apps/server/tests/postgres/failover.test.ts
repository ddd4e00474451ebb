import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { startPostgres } from '../../../../packages/db/tests/postgresServer.ts'
import { EventReader, type Told, trpcPath } from '../eventReader.ts'
import { createTestApp, json, openRoom } from '../support.ts'

const ORG = 'DOWELL12345'
const inbox = `/api/v3/events?orgId=${ORG}`

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(50)
}

test('after a failover that lost commits every stream is reset, hears what is stored then, and an old cursor is no good', async () => {
  const postgres = await startPostgres()
  await using closing = new AsyncDisposableStack()
  closing.defer(() => postgres.stop())
  const app = closing.use(await createTestApp({ DATABASE_URL: postgres.url }))
  const room = await openRoom(app)
  const other = await openRoom(app, 'somebody else')
  const isReady = async () => (await app.fetch('/readyz')).status === 200
  const say = async (text: string) => {
    const body = json({ messageData: text, side: false, author: 'ABCD12345' })
    const answer = await app.fetch(`/api/v3/rooms/${room}/messages`, body)
    expect(answer.status).toBe(201)
  }
  const paths = [
    inbox,
    `/api/v3/rooms/${room}/events`,
    `/api/v3/users/ABCD12345/events?orgId=${ORG}`,
    trpcPath('onInboxEvents', { orgId: ORG }),
  ]
  const readers: EventReader[] = []
  for (const path of paths) {
    readers.push(closing.use(await EventReader.open(app, path)))
    await readers.at(-1)?.nextOf('ready')
  }
  const hear = async (text: string) => {
    for (const reader of readers) {
      const told = await reader.nextOf('reset', 'message.created')
      expect(told).toMatchObject({ message: { messageData: text } })
    }
  }
  await say('kept')
  await hear('kept')
  await postgres.backUp()
  await until(isReady)
  // A restart alone is no other history.
  const lost = ['one', 'two', 'three']
  for (const text of lost) {
    await say(text)
    await hear(text)
  }
  const head: Told = await (await app.fetch(`/api/v3/rooms/${room}/snapshot`)).json()

  await postgres.failOver()
  await until(isReady)
  for (const reader of readers) {
    const reset = await reader.nextOf('reset')
    expect(reset).toMatchObject({ type: 'reset', reason: 'unknown', position: head.position - 3 })
    expect(reset.cursor).not.toBe(head.cursor)
  }
  // More than were lost, so that positions say nothing.
  for (const text of ['four', 'five', 'six', 'seven']) {
    await say(text)
    await hear(text)
  }
  const errors = app.log.filter(({ msg }) => /failover may have lost commits/.test(String(msg)))
  expect(errors).toMatchObject([{ level: 50, err: { message: expect.stringContaining(ORG) } }])

  await using late = await EventReader.open(app, inbox, { 'last-event-id': head.cursor })
  expect(await late.next()).toMatchObject({ type: 'reset', reason: 'unknown' })
  const log = await app.fetch(`/api/v3/event-log?orgId=${ORG}&after=${head.cursor}`)
  expect(log.status).toBe(409)
  expect(await log.json()).toMatchObject({ code: 'CURSOR_TOO_OLD' })
  await using fresh = await EventReader.open(app, `/api/v3/rooms/${other}/events`)
  await fresh.nextOf('ready')
})
