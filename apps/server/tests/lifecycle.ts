import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { expect } from 'vitest'
import { type Answer, send } from './http.ts'
import { surfaces } from './surfaces.ts'

export async function openRoomAt(server: { url: string }): Promise<string> {
  const { body, text } = await surfaces.v3.openRoom(server, 'a')
  expect(body?.room?.id, text).toBeTypeOf('string')
  return body?.room?.id as unknown as string
}

/** Sends the head of a message and half of its body, and returns once the server has begun to read it. */
export async function beginSend(
  server: { url: string },
  room: string,
): Promise<{ socket: Socket; rest: string; answers(): Promise<string> }> {
  const { hostname, port } = new URL(server.url)
  const socket = connect(Number(port), hostname)
  let received = ''
  socket.on('data', (part) => {
    received += part
  })
  socket.on('error', () => undefined)
  const closed = once(socket, 'close')
  const body = JSON.stringify({ messageData: 'slowly', author: 'a', side: false })
  socket.write(
    [
      `POST /api/v3/rooms/${room}/messages HTTP/1.1`,
      'Host: localhost',
      'Content-Type: application/json',
      `Content-Length: ${body.length}`,
      // The server says when it has read the head.
      'Expect: 100-continue',
      '\r\n',
    ].join('\r\n'),
  )
  await once(socket, 'data')
  expect(received).toBe('HTTP/1.1 100 Continue\r\n\r\n')
  received = ''
  socket.write(body.slice(0, 10))
  return {
    socket,
    rest: body.slice(10),
    async answers() {
      await closed
      return received
    },
  }
}

export function seqOf({ body, text }: Answer): number {
  const seq = body?.response?.seq ?? (body?.message ?? body?.result?.data?.json?.message)?.seq
  expect(seq, text).toBeTypeOf('number')
  return seq as unknown as number
}

interface Stored {
  readonly seq: number
  readonly messageData: string
  readonly clientMessageId: string | null
}

/** Every message of a room, page by page, oldest first. */
export async function allMessages(server: { url: string }, room: string): Promise<Stored[]> {
  const path = `/api/v3/rooms/${room}/messages?limit=200`
  const pages: Stored[][] = []
  for (let before = ''; ; ) {
    const { body } = await send(server, { path: before ? `${path}&before=${before}` : path })
    const page = body as unknown as { items: Stored[]; before: string; hasBefore: boolean }
    pages.unshift(page.items)
    if (!page.hasBefore) return pages.flat()
    before = page.before
  }
}
