// A conversation between a customer and the support team, with the typed client.
// Start the server (npm start), then run: npx tsx examples/chat.ts [url]
import { setTimeout as sleep } from 'node:timers/promises'
import { createDowellChat, DowellChatError } from '@dowell-chat/client'

const url = process.argv[2] ?? process.env.DOWELL_CHAT_URL ?? 'http://127.0.0.1:3000'
const chat = createDowellChat({ url })

const orgId = 'DOWELL12345'
const productName = 'WIFIQRCODE'
// A new user, so that each run is a new conversation.
const userId = `customer-${crypto.randomUUID()}`

/** Repeats a call whose answer was lost. Every call here may be repeated. */
async function retry<Output>(call: () => Promise<Output>): Promise<Output> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await call()
    } catch (error) {
      const isRetryable = error instanceof DowellChatError && error.isPassing
      if (!isRetryable || attempt === 4) throw error
      await sleep(Math.max(error.retryAfter ?? 0, 200 * 2 ** attempt))
    }
  }
}

async function write(roomId: string, side: boolean, author: string, messageData: string) {
  // With the same id a retry does not store the message twice.
  const clientMessageId = crypto.randomUUID()
  const message = { roomId, side, author, messageData, clientMessageId }
  await retry(() => chat.createMessage(message))
}

try {
  // The customer creates the room, or gets the open one, and writes.
  const identity = { userId, orgId, portfolioName: 'umair', productName }
  const { room } = await retry(() => chat.createRoom(identity))
  await write(room.id, false, userId, 'The QR code does not open our network.')

  // The support team finds the room in its list and replies.
  const { items: rooms } = await retry(() => chat.listRooms({ orgId, productName }))
  const found = rooms.find((one) => one.userId === userId)
  if (!found) throw new Error('the new room is not in the list')
  await write(found.id, true, 'Amara', 'Which phone do you use?')

  await write(room.id, false, userId, 'A Fairphone 5.')

  const { items: messages } = await retry(() => chat.getMessages({ roomId: room.id }))
  for (const { seq, side, messageData } of messages) {
    console.log(`${seq} ${side ? 'support' : 'customer'}: ${messageData}`)
  }

  // Close the room: it stays readable, but accepts no new messages.
  await retry(() => chat.deleteRoom({ roomId: room.id }))
} catch (error) {
  if (!(error instanceof DowellChatError)) throw error
  console.error(`${url}: ${error.code}, ${error.message}`, error.errors ?? '')
  process.exitCode = 1
}
