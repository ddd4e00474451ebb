import { Buffer } from 'node:buffer'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type NewMessage, parseCursor } from './responses.ts'

export interface NewRoom {
  readonly orgId: string
  readonly userId: string
  readonly portfolioName: string
  readonly productName: string
}

/** Request handlers of a bare server. Each sends its response itself. */
export interface Handlers {
  createMessage(res: ServerResponse, roomId: string, body: NewMessage): void
  /** @param to last position of the page; undefined: the newest */
  getMessages(res: ServerResponse, roomId: string, to: number | undefined): void
  listRooms(res: ServerResponse, orgId: string): void
  createRoom(res: ServerResponse, body: NewRoom): void
}

/** Creates a plain node:http server, without authentication, limits, validation or log. */
export function createBareServer(handlers: Handlers): Server {
  return createServer((req, res) => {
    const url = req.url as string
    if (req.method === 'POST') {
      readBody(req, (body) => {
        if (url.endsWith('/messages')) {
          handlers.createMessage(res, url.slice(14, 38), body as NewMessage)
        } else {
          handlers.createRoom(res, body as NewRoom)
        }
      })
    } else if (url.startsWith('/api/v3/rooms/')) {
      const mark = url.indexOf('before=')
      const to = mark < 0 ? undefined : parseCursor(url.slice(mark + 'before='.length))
      handlers.getMessages(res, url.slice(14, 38), to)
    } else {
      const query = new URLSearchParams(url.slice(url.indexOf('?') + 1))
      handlers.listRooms(res, query.get('orgId') as string)
    }
  })
}

function readBody(req: IncomingMessage, done: (body: unknown) => void): void {
  const chunks: Buffer[] = []
  req.on('data', (chunk: Buffer) => chunks.push(chunk))
  req.on('end', () => done(JSON.parse(Buffer.concat(chunks).toString())))
}

export function sendJson(res: ServerResponse, status: number, value: unknown): void {
  const body = Buffer.from(JSON.stringify(value))
  res.writeHead(status, {
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': body.length,
  })
  res.end(body)
}
