import { once } from 'node:events'
import net from 'node:net'
import { expect, test } from 'vitest'
import { as, bearer, createOrganisation, unlimited } from './credentials.ts'
import { createTestApp } from './support.ts'

// A customer's requests take turns: eight are served at once. One whose body never ends must give its turn back.

const JSON_TYPE = 'Content-Type: application/json'
const multipart = 'Content-Type: multipart/form-data; boundary=x'

/** How an upload can go wrong after its headers: the bytes that follow, or the end of the client's half. */
const faults: Record<string, (contentType: string) => { headers: string[]; rest: string | null }> =
  {
    'has a malformed chunk': (contentType) => ({
      headers: [contentType, 'Transfer-Encoding: chunked'],
      rest: 'zz\r\n\r\n',
    }),
    'ends before its length': (contentType) => ({
      headers: [contentType, 'Content-Length: 50'],
      rest: null,
    }),
  }

const targets: Record<string, [path: string, contentType: string]> = {
  'REST v3': ['/api/v3/rooms', JSON_TYPE],
  tRPC: ['/trpc/createRoom', JSON_TYPE],
  'REST v2, multipart,': ['/api/v2/room-control/', multipart],
  'compressed REST v3': ['/api/v3/rooms', `${JSON_TYPE}\r\nContent-Encoding: gzip`],
}

/** Sends headers and a part of a body, then the fault. Resolves with what the server said when the connection closed. */
async function upload(url: string, headers: string[], rest: string | null): Promise<string> {
  const { hostname, port } = new URL(url)
  const socket = net.connect({ host: hostname, port: Number(port) }).setEncoding('utf8')
  socket.on('error', () => undefined)
  let text = ''
  socket.on('data', (part) => {
    text += part
  })
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  await once(socket, 'connect')
  const isChunked = headers.some((header) => header.startsWith('Transfer-Encoding'))
  socket.write(`${headers.join('\r\n')}\r\n\r\n${isChunked ? '2\r\n{"\r\n' : '{"'}`)
  if (rest === null) socket.end()
  else socket.write(rest)
  await closed
  return text
}

for (const [target, [path, contentType]] of Object.entries(targets)) {
  for (const [fault, make] of Object.entries(faults)) {
    test(`${target} serves a customer after 20 uploads, each of which ${fault}`, async () => {
      await using app = await createTestApp(unlimited)
      const { tokens, id } = await createOrganisation(app, 'DOWELL12345')
      const { headers, rest } = make(contentType)
      const lines = [
        `POST ${path} HTTP/1.1`,
        'Host: localhost',
        `Authorization: ${bearer(tokens.customer).authorization}`,
        ...headers,
      ]
      const texts = await Promise.all(
        Array.from({ length: 20 }, () => upload(app.url, lines, rest)),
      )
      for (const text of texts) expect(text).toMatch(/^$|^HTTP\/1\.1 4\d\d /)
      const page = await as(app, tokens.customer).listRooms({ orgId: id })
      expect(page.items.length).toBeGreaterThan(0)
    })
  }
}
