import { Buffer } from 'node:buffer'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { boundaryOf, type NewMessage } from './answers.ts'

export interface NewRoom {
  readonly orgId: string
  readonly userId: string
  readonly portfolioName: string
  readonly productName: string
}

/** What a bare server does with a request. Each answers by itself, at once or later. */
export interface Handlers {
  createMessage(res: ServerResponse, roomId: string, body: NewMessage): void
  /** @param to the place that the page ends at; undefined for the newest */
  getMessages(res: ServerResponse, roomId: string, to: number | undefined): void
  listRooms(res: ServerResponse, orgId: string): void
  createRoom(res: ServerResponse, body: NewRoom): void
}

/** node:http and nothing else. Checks nothing: no authentication, no limits, no validation, no log. */
export function bareServer(handlers: Handlers): Server {
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
      const to = mark < 0 ? undefined : boundaryOf(url.slice(mark + 'before='.length))
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

export function answer(res: ServerResponse, status: number, value: unknown): void {
  const body = Buffer.from(JSON.stringify(value))
  res.writeHead(status, {
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': body.length,
  })
  res.end(body)
}
