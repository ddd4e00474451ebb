import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { serve } from './serve.ts'

// The upper bound of the machine: each message is serialised once and written to every reader. No storage, authentication,
// resume or backpressure.

const readers = new Set<ServerResponse>()
let position = 0

function openStream(res: ServerResponse): void {
  res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' })
  res.write('retry: 2000\n\n')
  readers.add(res)
  res.once('close', () => readers.delete(res))
}

async function createMessage(req: IncomingMessage, res: ServerResponse): Promise<void> {
  let text = ''
  for await (const chunk of req.setEncoding('utf8')) text += chunk
  const { messageData, side, author } = JSON.parse(text)
  const createdAt = new Date().toISOString()
  const roomId = '64e96a73f59c079a226e1ae9'
  const cursor = `ZToxNzo4Zk1vX2J3${String(++position).padStart(6, '0')}`
  const event = {
    type: 'message.created',
    position,
    cursor,
    orgId: 'BENCH',
    roomId,
    createdAt,
    message: {
      id: '64e96a73f59c079a226e1ae8',
      roomId,
      seq: position,
      messageData,
      side,
      author,
      messageType: 'text',
      clientMessageId: null,
      isActive: true,
      createdAt,
      editedAt: null,
      deletedAt: null,
      version: 1,
    },
  }
  const frame = `id: ${cursor}\ndata: ${JSON.stringify(event)}\n\n`
  for (const reader of readers) reader.write(frame)
  res.writeHead(201, { 'Content-Type': 'application/json' })
  res.end(JSON.stringify({ message: event.message }))
}

const server = createServer((req, res) => {
  if (req.method === 'GET') openStream(res)
  else void createMessage(req, res)
})
serve(server, () => process.exit())
