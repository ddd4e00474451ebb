// A live chat between two terminals, with typing and presence.
// Start the server (npm start), then run in one terminal: npx tsx examples/live.ts customer [url]
//                                        and in another:  npx tsx examples/live.ts support [url]
import { createInterface, emitKeypressEvents } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { createDowellChat, DowellChatError } from '@dowell-chat/client'

const [role, url = process.env.DOWELL_CHAT_URL ?? 'http://127.0.0.1:3000'] = process.argv.slice(2)
if (role !== 'customer' && role !== 'support') {
  console.error('usage: npx tsx examples/live.ts customer|support [url]')
  process.exit(2)
}
const side = role === 'support'
const author = side ? 'Amara' : 'ABCD12345'
const chat = createDowellChat({ url })

/** Repeats a call until it is answered. Safe for createRoom, and for a message with a `clientMessageId`. */
async function untilAnswered<Output>(call: () => Promise<Output>): Promise<Output> {
  for (let failures = 1; ; failures++) {
    try {
      return await call()
    } catch (error) {
      if (!(error instanceof DowellChatError && error.isPassing)) throw error
      if (failures === 1) console.log(`(no answer yet: ${error.message})`)
      await sleep(Math.max(error.retryAfter ?? 0, Math.min(500 * failures, 10_000)))
    }
  }
}

// The first terminal creates the room, the second gets the same one.
const { room } = await untilAnswered(() =>
  chat.createRoom({
    userId: 'ABCD12345',
    orgId: 'DOWELL12345',
    portfolioName: 'umair',
    productName: 'WIFIQRCODE',
  }),
)
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
  // One id for all attempts: a message whose answer was lost is not stored again.
  const clientMessageId = crypto.randomUUID()
  const message = { roomId, side, author, messageData: line, clientMessageId }
  try {
    await untilAnswered(() => chat.createMessage(message))
  } catch (error) {
    // Such as a text that is too long; the next line may be sent.
    console.log(`(not sent: ${error instanceof Error ? error.message : error})`)
  }
}
stop()
