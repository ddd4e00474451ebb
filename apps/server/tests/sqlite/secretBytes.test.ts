import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { as, createOrganisation, rights, unlimited } from '../credentials.ts'
import { Secrets } from '../leaks.ts'
import { createTestApp } from '../support.ts'

test('the bytes of the database files have no piece of a key or a token', async () => {
  await using app = await createTestApp(unlimited)
  const { keys, tokens, room } = await createOrganisation(app, 'DOWELL12345')
  const secrets = new Secrets()
  const credentials = [...rights.map((right) => keys[right].secret), ...Object.values(tokens)]
  for (const credential of credentials) {
    secrets.keep('valid', credential)
    const refused = secrets.keep('refused', `${credential.slice(0, -1)}!`)
    await as(app, credential).listRooms({ orgId: 'DOWELL12345' })
    await expect(as(app, refused).getRoomById({ roomId: room })).rejects.toMatchObject({
      code: 'UNAUTHORIZED',
    })
  }
  const file = app.databaseUrl.slice('sqlite:'.length)
  const bytes = [file, `${file}-wal`].map((path) => readFileSync(path, 'latin1')).join('')
  expect(bytes).toContain(keys.admin.id)
  expect(secrets.leaksIn(bytes)).toEqual([])
})
