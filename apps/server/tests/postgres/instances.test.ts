import { createTestStore } from '@dowell-chat/db/testing'
import { expect, test } from 'vitest'
import { createOperator } from '../credentials.ts'
import { createTestApp, json, openRoom, type TestApp } from '../support.ts'

/** Two servers on one database. */
async function createTwo(): Promise<AsyncDisposable & { apps: [TestApp, TestApp] }> {
  const store = await createTestStore()
  const start = () => createTestApp({ DATABASE_URL: store.url })
  const apps: [TestApp, TestApp] = [await start(), await start()]
  return {
    apps,
    async [Symbol.asyncDispose]() {
      for (const app of apps) await app.close()
      await store[Symbol.asyncDispose]()
    },
  }
}

/** Does the same so many times at once, by turns on either server. */
function at<T>(apps: [TestApp, TestApp], count: number, act: (app: TestApp, i: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => act(apps[i % 2] as TestApp, i))
}

async function itemsOf(app: TestApp, path: string): Promise<Record<string, unknown>[]> {
  const response = await app.fetch(path)
  return ((await response.json()) as { items: Record<string, unknown>[] }).items
}

const org = 'orgId=DOWELL12345&limit=200'
const message = { messageData: 'message', side: false, author: 'client' }

test('one room for all who ask at once, and one message for one client message id', async () => {
  await using two = await createTwo()
  const { apps } = two
  const ids = await Promise.all(at(apps, 20, (app) => openRoom(app)))
  expect(new Set(ids).size).toBe(1)
  const path = `/api/v3/rooms/${ids[0]}/messages`
  const body = json({ ...message, clientMessageId: '0192f3a1-7c1e-4d3b' })
  const answers = await Promise.all(at(apps, 20, (app) => app.fetch(path, body)))
  expect(answers.map(({ status }) => status).sort()).toEqual([...Array(19).fill(200), 201])
  await Promise.all(at(apps, 40, (app) => app.fetch(path, json(message))))
  const seqs = (await itemsOf(apps[0], `${path}?limit=200`)).map(({ seq }) => seq)
  expect(seqs).toEqual(Array.from({ length: 41 }, (_, i) => i + 1))
})

test('what changes a room is done once and told once, whoever else asks for it', async () => {
  await using two = await createTwo()
  const { apps } = two
  const roomId = await openRoom(apps[0])
  const path = `/api/v3/rooms/${roomId}`
  const answers = await Promise.all(at(apps, 16, (app) => app.fetch(path, { method: 'DELETE' })))
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
  const events = await itemsOf(apps[0], `/api/v3/event-log?${org}`)
  expect(events.map(({ type }) => type)).toEqual(['room.created', 'room.deleted'])
  await using operator = createOperator(apps[0])
  const { items: audit } = await operator.call.listAuditEvents({ orgId: 'DOWELL12345' })
  expect(audit.map(({ action }) => action)).toEqual(['room.deleted'])
})

test('two who describe a room at once lose nothing of each other', async () => {
  await using two = await createTwo()
  const { apps } = two
  for (let round = 0; round < 8; round++) {
    const roomId = await openRoom(apps[0], `user ${round}`)
    const path = `/api/v3/rooms/${roomId}`
    await Promise.all([
      apps[0].fetch(path, json({ subject: 'subject' }, 'PATCH')),
      apps[1].fetch(path, json({ assignee: 'agent' }, 'PATCH')),
    ])
    const room = await (await apps[0].fetch(path)).json()
    expect(room).toMatchObject({ subject: 'subject', assignee: 'agent' })
  }
})

test('a message that is deleted while somebody edits it stays deleted', async () => {
  await using two = await createTwo()
  const { apps } = two
  const roomId = await openRoom(apps[0])
  const path = `/api/v3/rooms/${roomId}/messages`
  for (let round = 0; round < 8; round++) {
    const sent = (await (await apps[0].fetch(path, json(message))).json()) as {
      message: { id: string }
    }
    const own = `${path}/${sent.message.id}`
    await Promise.all([
      apps[0].fetch(own, { method: 'DELETE' }),
      apps[1].fetch(own, json({ messageData: 'edited' }, 'PATCH')),
    ])
  }
  const messages = await itemsOf(apps[0], `${path}?limit=200`)
  expect(messages.map(({ messageData, isActive }) => [messageData, isActive])).toEqual(
    Array(8).fill(['', false]),
  )
  const room = await (await apps[0].fetch(`/api/v3/rooms/${roomId}`)).json()
  expect(room).toMatchObject({ messageData: 'How may I help you' })
})
