// A live chat between two terminals, with typing and presence.
// Start the server (npm start), then run in one terminal: npx tsx examples/live.ts customer [url]
//                                        and in another:  npx tsx examples/live.ts support [url]
import { createInterface, emitKeypressEvents } from 'node:readline'
import { createDowellChat } from '@dowell-chat/client'

const [role, url = process.env.DOWELL_CHAT_URL ?? 'http://127.0.0.1:3000'] = process.argv.slice(2)
if (role !== 'customer' && role !== 'support') {
  console.error('usage: npx tsx examples/live.ts customer|support [url]')
  process.exit(2)
}
const side = role === 'support'
const author = side ? 'Amara' : 'ABCD12345'
const chat = createDowellChat({ url })

// The first terminal creates the room, the second gets the same one.
const { room } = await chat.createRoom({
  userId: 'ABCD12345',
  orgId: 'DOWELL12345',
  portfolioName: 'umair',
  productName: 'WIFIQRCODE',
})
const roomId = room.id

const shown = new Set<string>()
function show(message: { id: string; author: string; messageData: string }) {
  // A later snapshot repeats messages.
  if (shown.has(message.id)) return
  shown.add(message.id)
  console.log(`${message.author}: ${message.messageData}`)
}

const stop = chat.room(roomId, { readerId: author, readerSide: side }).subscribe({
  onEvent(event) {
    switch (event.type) {
      case 'snapshot':
        for (const message of event.messages.items) show(message)
        break
      case 'message.created':
        show(event.message)
        break
      case 'typing':
        if (event.side !== side && event.isTyping) console.log(`(${event.userId} types …)`)
        break
      case 'presence':
        console.log(`(${(side ? event.customer : event.support) ? 'they are' : 'nobody is'} there)`)
    }
  },
  onState({ status }) {
    if (status !== 'connecting') console.log(`(${status})`)
  },
  onError(error) {
    console.error(error)
    process.exit(1)
  },
})

let typedAt = 0
emitKeypressEvents(process.stdin)
process.stdin.on('keypress', () => {
  // The server does not broadcast repetitions within 2 seconds.
  if (Date.now() - typedAt < 2_000) return
  typedAt = Date.now()
  chat.setTyping({ roomId, isTyping: true, userId: author, side }).catch(() => undefined)
})

const lines = createInterface({ input: process.stdin, output: process.stdout })
for await (const line of lines) {
  if (line.trim() === '') continue
  const clientMessageId = crypto.randomUUID()
  await chat.createMessage({ roomId, side, author, messageData: line, clientMessageId })
}
stop()
