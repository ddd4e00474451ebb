// A customer asks, the support team answers, with the typed client.
// Start the server (npm start), then: npx tsx examples/chat.ts [url]
import { createDowellChat, DowellChatError } from '@dowell-chat/client'

const url = process.argv[2] ?? process.env.DOWELL_CHAT_URL ?? 'http://127.0.0.1:3000'
const chat = createDowellChat({ url })

const orgId = 'DOWELL12345'
const productName = 'WIFIQRCODE'
// Somebody new in each run, so that each run is a new conversation.
const userId = `customer-${crypto.randomUUID()}`

async function write(roomId: string, side: boolean, author: string, messageData: string) {
  // Sent again with the same id, for example after a lost answer, the message is stored once.
  const clientMessageId = crypto.randomUUID()
  await chat.createMessage({ roomId, side, author, messageData, clientMessageId })
}

try {
  // The customer's page: open the room, or find the one that is open, and write.
  const { room } = await chat.createRoom({ userId, orgId, portfolioName: 'umair', productName })
  await write(room.id, false, userId, 'The QR code does not open our network.')

  // The support team's page: the newest rooms, and what stands in one of them.
  const { items: rooms } = await chat.listRooms({ orgId, productName })
  const waiting = rooms.find((one) => one.userId === userId)
  if (!waiting) throw new Error('the new room is not in the list')
  await write(waiting.id, true, 'Amara', 'Which phone do you use?')

  await write(room.id, false, userId, 'A Fairphone 5.')

  const { items: messages } = await chat.getMessages({ roomId: room.id })
  for (const { seq, side, messageData } of messages) {
    console.log(`${seq} ${side ? 'support' : 'customer'}: ${messageData}`)
  }

  // Done: the room takes no new messages, and stays readable.
  await chat.deleteRoom({ roomId: room.id })
} catch (error) {
  if (!(error instanceof DowellChatError)) throw error
  console.error(`${url}: ${error.code}, ${error.message}`, error.errors ?? '')
  process.exitCode = 1
}
