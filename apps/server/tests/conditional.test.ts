import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bearer, createKey } from './credentials.ts'
import { type Answer, type SentHeaders, send } from './http.ts'
import { createTestApp, openRoom, type TestApp } from './support.ts'
import { surfaces } from './surfaces.ts'

const ORG = 'DOWELL12345'

function getFrom(app: TestApp, headers: SentHeaders = {}) {
  return (path: string, more: SentHeaders = {}, method = 'GET'): Promise<Answer> =>
    send(app, { path, method, headers: { ...headers, ...more } })
}

/** Every read of REST, of a room that has messages. */
async function reads(server: TestApp): Promise<string[]> {
  const room = await openRoom(server)
  for (const text of ['one', 'two']) await surfaces.v3.say(server, { room, text })
  const { body } = await send(server, { path: `/api/v3/rooms/${room}/messages` })
  return [
    `/api/v3/rooms/${room}`,
    `/api/v3/rooms/${room}/messages`,
    `/api/v3/rooms/${room}/messages/${body?.items?.[0]?.id}`,
    `/api/v3/rooms/${room}/messages?limit=1`,
    `/api/v3/rooms/${room}/snapshot?readerId=a&readerSide=true`,
    `/api/v3/event-log?orgId=${ORG}`,
    `/api/v3/rooms/${room}/messages?before=${body?.after}`,
    `/api/v3/rooms?orgId=${ORG}`,
    `/api/v3/rooms?orgId=${ORG}&readerId=a&readerSide=true`,
    `/api/v3/api-keys?orgId=${ORG}`,
    `/api/v3/audit-events?orgId=${ORG}`,
    `/api/v3/organisations/${ORG}`,
    `/api/v2/room-service/?type=get_messages&room_id=${room}`,
    `/api/v2/room-service/?type=get_messages&room_id=${room}&limit=1`,
    `/api/v2/room-service/?type=get_room_by_id&room_id=${room}`,
    `/api/v2/room-list/?org_id=${ORG}`,
  ]
}

test('every read has an entity tag and answers 304 while nothing changes', async () => {
  await using own = await createTestApp()
  const paths = await reads(own)
  const get = getFrom(own, bearer((await createKey(own)).secret))
  for (const path of paths) {
    const first = await get(path)
    expect(first.status, path).toBe(200)
    const tag = first.headers.etag as string
    expect(tag, path).toMatch(/^"[\w-]+(\.\d+)?"$/)
    expect(first.headers['cache-control']).toBe('private, no-cache')
    for (const condition of [tag, `W/${tag}`, `"a", ${tag}`, `"a,b" , W/${tag},"c"`, '*']) {
      const again = await get(path, { 'If-None-Match': condition })
      expect(again.status, `${path} ${condition}`).toBe(304)
      expect(again.text).toBe('')
      expect(again.headers.etag).toBe(tag)
      expect(again.headers['cache-control']).toBe('private, no-cache')
      expect(again.headers.vary).toMatch(/\bOrigin\b/)
      expect(again.headers).not.toHaveProperty('content-type')
    }
    for (const condition of ['"a"', tag.slice(1, -1), `${tag.slice(0, -1)}x"`, '']) {
      const again = await get(path, { 'If-None-Match': condition })
      expect(again.status, `${path} ${condition}`).toBe(200)
      expect(again.text).toBe(first.text)
    }
    const head = await get(path, {}, 'HEAD')
    expect([head.status, head.headers.etag, head.text]).toEqual([200, tag, ''])
    expect((await get(path, { 'If-None-Match': tag }, 'HEAD')).status).toBe(304)
  }
})

test('writes and failures have no-store, and no entity tag but that of what was written', async () => {
  await using app = await createTestApp()
  const get = getFrom(app)
  const room = await openRoom(app, 'kept')
  const answers = [
    await surfaces.v2.say(app, { room, text: 'x' }),
    await get(`/api/v2/room-service/?type=delete_room&room_id=${room}`, { 'If-None-Match': '*' }),
    await get(`/api/v3/rooms/${'0'.repeat(24)}`, { 'If-None-Match': '*' }),
    await get('/api/v3/rooms', { 'If-None-Match': '*' }),
  ]
  for (const { status, headers } of answers) {
    expect(status).not.toBe(304)
    expect(headers['cache-control']).toBe('no-store')
    expect(headers).not.toHaveProperty('etag')
  }
  const written = [
    await surfaces.v3.say(app, { room: await openRoom(app, 'other'), text: 'x' }),
    await get(`/api/v3/rooms/${room}`, { 'If-None-Match': '*' }, 'DELETE'),
  ]
  for (const { status, headers } of written) {
    expect(status).not.toBe(304)
    expect(headers['cache-control']).toBe('no-store')
    expect(headers.etag).toMatch(/^"[\w-]+\.\d+"$/)
  }
})

test('a read after any change has the new body, and 304 only without a change', async () => {
  const act = fc.constantFrom(
    ...['say v2', 'say v3', 'say tRPC', 'edit', 'remove', 'describe', 'mark'],
    ...['open', 'delete', 'restore', 'read'],
  )
  await fc.assert(
    fc.asyncProperty(fc.array(act, { minLength: 1, maxLength: 8 }), async (acts) => {
      await using server = await createTestApp()
      const paths = (await reads(server)).filter((path) => !/keys|audit|organisations/.test(path))
      const room = await openRoom(server)
      /** What a browser keeps: the last answer of each path. */
      const kept = new Map<string, Answer>()
      const [spoken, page] = paths as [string, string]
      const said = (await send(server, { path: page })).body?.items?.[0]?.id
      const change = (method: string, path: string, body?: object) =>
        send(server, {
          path,
          method,
          headers: { 'Content-Type': 'application/json' },
          body: body && JSON.stringify(body),
        })
      const remove = (isActive: boolean) =>
        send(server, { path: `/api/v3/rooms/${room}?isActive=${isActive}`, method: 'DELETE' })
      for (const [index, one] of acts.entries()) {
        if (one === 'say v2') await surfaces.v2.say(server, { room, text: 'same' })
        if (one === 'say v3') await surfaces.v3.say(server, { room, text: 'same' })
        if (one === 'say tRPC') await surfaces.trpc.say(server, { room, text: 'same' })
        const message = `${spoken}/messages/${said}`
        if (one === 'edit') await change('PATCH', message, { messageData: `edit ${index}` })
        if (one === 'remove') await change('DELETE', message)
        if (one === 'describe') await change('PATCH', spoken, { subject: `${index}` })
        const reader = { readerId: 'a', readerSide: true }
        if (one === 'mark') await change('PUT', `${spoken}/read-marker`, { seq: 1, ...reader })
        if (one === 'open') await openRoom(server, `user ${index}`)
        if (one === 'delete' || one === 'restore') await remove(one === 'restore')
        for (const path of paths) {
          const fresh = await send(server, { path })
          const before = kept.get(path)
          const headers = before ? { 'If-None-Match': before.headers.etag as string } : {}
          const asked = await send(server, { path, headers })
          const seen = asked.status === 304 ? before?.text : asked.text
          expect(seen, path).toBe(fresh.text)
          expect(asked.status === 304, path).toBe(before?.text === fresh.text)
          kept.set(path, fresh)
        }
      }
    }),
    { numRuns: 10 },
  )
})

test('an entity tag gives no access: a caller without it gets 401 or 404', async () => {
  await using app = await createTestApp()
  await openRoom(app)
  const get = getFrom(app)
  const mine = bearer((await createKey(app)).secret)
  const { body } = await get(`/api/v3/rooms?orgId=${ORG}`, mine)
  const path = `/api/v3/rooms/${body?.items?.[0]?.id}/messages`
  const { headers } = await get(path, mine)
  const condition = { 'If-None-Match': headers.etag as string }
  expect((await get(path, { ...mine, ...condition })).status).toBe(304)
  expect((await get(path, condition)).status).toBe(401)
  const other = await send(app, {
    path: '/api/v3/user-tokens',
    method: 'POST',
    headers: { ...mine, 'Content-Type': 'application/json' },
    body: JSON.stringify({ orgId: ORG, userId: 'a stranger', side: false }),
  })
  const theirs = { Authorization: `Bearer ${other.body?.token}` }
  expect((await get(path, { ...theirs, ...condition })).status).toBe(404)
})
