import { createTestStore } from '@dowell-chat/db/testing'
import { expect, test } from 'vitest'
import { ask } from './database.ts'
import { createTestApp, json, openRoom } from './support.ts'
import { surfaces } from './surfaces.ts'

/** A newer version's migration, as its server stores it. */
const migrate = (databaseUrl: string, oldestWriter: string) =>
  ask(
    { databaseUrl },
    `insert into schema_migrations (name, timestamp, oldest_writer) values ('998-later', '', ?)`,
    oldestWriter,
  )

test('two running servers go on writing beside a newer version that allows it, and only read beside one that does not', async () => {
  await using store = await createTestStore()
  const env = { DATABASE_URL: store.url }
  await using first = await createTestApp(env)
  await using second = await createTestApp(env)
  const apps = [first, second]
  const room = await openRoom(first)
  const path = `/api/v3/rooms/${room}/messages`
  const send = (app = first) =>
    app.fetch(path, json({ messageData: 'message', side: false, author: 'client' }))
  const isReady = async () => {
    const answers = await Promise.all(apps.map((app) => app.fetch('/readyz')))
    return answers.map(({ status }) => status)
  }

  await migrate(store.url, '006-log-epoch')
  for (const app of apps) expect((await send(app)).status).toBe(201)
  expect(await isReady()).toEqual([200, 200])

  await ask(
    { databaseUrl: store.url },
    "update schema_migrations set oldest_writer = '998-later' where name = '998-later'",
  )
  await expect.poll(isReady).toEqual([503, 503])
  for (const app of apps) {
    const refused = await send(app)
    expect(refused.status).toBe(503)
    expect(refused.headers.get('Retry-After')).toBe('1')
    expect(await refused.json()).toMatchObject({
      code: 'SERVICE_UNAVAILABLE',
      message:
        'Another version of the server has changed the database, so this one only reads; try again',
    })
    for (const surface of Object.values(surfaces)) {
      expect((await surface.say(app, { room, text: 'message' })).status).toBe(503)
    }
    const page = (await (await app.fetch(path)).json()) as { items: unknown[] }
    expect(page.items).toHaveLength(2)
    expect(await (await app.fetch('/readyz')).json()).toEqual({
      status: 'unavailable',
      reason:
        'the database was made by a newer version of Dowell Chat (it has the migration 998-later); run that version or a later one',
    })
    expect(app.log.filter(({ msg }) => msg === 'this server only reads: update it')).toHaveLength(1)
  }

  // An older version that starts now is refused.
  await expect(createTestApp(env)).rejects.toMatchObject({ reason: 'newer-schema' })

  await ask({ databaseUrl: store.url }, "delete from schema_migrations where name = '998-later'")
  await expect.poll(isReady).toEqual([200, 200])
  for (const app of apps) expect((await send(app)).status).toBe(201)
})
