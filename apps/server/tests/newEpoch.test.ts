import { createDowellChat } from '@dowell-chat/client'
import { expect, test } from 'vitest'
import { EventReader } from './eventReader.ts'
import { cli } from './serverProcess.ts'
import { createTestApp, openRoom } from './support.ts'

const ORG = 'DOWELL12345'

test('the command restore resets open streams, and refuses the cursors from before', async () => {
  await using app = await createTestApp({ AUTH: 'open' })
  const chat = createDowellChat({ url: app.url })
  const roomId = await openRoom(app)
  const message = { roomId, side: false, author: 'ABCD12345' }
  await chat.createMessage({ ...message, messageData: 'before' })
  await using reader = await EventReader.open(app, `/api/v3/rooms/${roomId}/events`)
  const { cursor } = await reader.nextOf('ready')
  const page = await chat.getMessages({ roomId })
  const etag = (await app.fetch(`/api/v3/rooms/${roomId}/messages`)).headers.get('etag') ?? ''

  const restored = await cli(app, 'restore')
  expect(restored).toMatchObject({ code: 0, stderr: '' })
  expect(restored.stdout).toMatch(/^Epoch \S+ has begun/)
  expect(await reader.nextOf('reset')).toMatchObject({ reason: 'unknown' })
  const tooOld = { code: 'CURSOR_TOO_OLD' }
  await expect(chat.listEvents({ orgId: ORG, after: cursor })).rejects.toMatchObject(tooOld)
  await expect(chat.getMessages({ roomId, after: page.after })).rejects.toMatchObject(tooOld)

  // A reader that starts again gets cursors that work, from the cache of pages and with its ETag too.
  await expect.poll(async () => (await chat.getMessages({ roomId })).after).not.toBe(page.after)
  const again = await chat.getMessages({ roomId })
  await chat.createMessage({ ...message, messageData: 'after' })
  const { items } = await chat.getMessages({ roomId, after: again.after })
  expect(items.map(({ messageData }) => messageData)).toEqual(['after'])
  const conditional = await app.fetch(`/api/v3/rooms/${roomId}/messages`, {
    headers: { 'If-None-Match': etag },
  })
  expect(conditional.status).toBe(200)
})
