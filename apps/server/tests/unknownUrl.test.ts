import { expect, it } from 'vitest'
import { createTestApp, json } from './support.ts'

it('answers an unknown URL of v2 in the envelope of v2, whatever was sent to it', async () => {
  await using app = await createTestApp()
  const requests = [
    app.fetch('/api/v2/nothing/'),
    app.fetch('/api/v2/nothing/', json({ type: 'create_message' })),
    // An operation's path inside is not one that a request can name.
    app.fetch('/api/v2/room-service/create_message', json({})),
  ]
  for (const response of await Promise.all(requests)) {
    expect(response.status).toBe(404)
    expect(await response.json()).toEqual({
      success: false,
      code: 'NOT_FOUND',
      message: 'There is nothing at this URL',
      requestId: response.headers.get('X-Request-Id'),
    })
  }
})

it('answers an unknown URL elsewhere in the plain shape', async () => {
  await using app = await createTestApp()
  for (const path of ['/nothing', '/api/v3/nothing', '/api/v4/rooms']) {
    const response = await app.fetch(path)
    expect(response.status).toBe(404)
    expect(await response.json()).toEqual({
      code: 'NOT_FOUND',
      message: 'There is nothing at this URL',
      requestId: response.headers.get('X-Request-Id'),
    })
  }
})
