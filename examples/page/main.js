// A live room for the customer; for the support team with ?side=support. Run it with serve.ts.
import { createDowellChat } from '@dowell-chat/client'

// Your own page also passes `token`, a function that fetches a user token from your back end.
const chat = createDowellChat({ url: SERVER_URL })

const parameters = new URLSearchParams(location.search)
const side = parameters.get('side') === 'support'
const customer = parameters.get('customer') ?? 'ABCD12345'
const author = side ? 'Amara' : customer

const { room } = await chat.createRoom({
  userId: customer,
  orgId: 'DOWELL12345',
  portfolioName: 'umair',
  productName: 'WIFIQRCODE',
})
const roomId = room.id

const element = (id) => document.getElementById(id)
element('title').textContent = side ? `Support for ${customer}` : 'Your conversation with support'

function show(message) {
  const item = document.createElement('li')
  item.textContent = message.isActive ? message.messageData : '(deleted)'
  item.className = message.side === side ? 'own' : ''
  item.dataset.seq = message.seq
  const existing = element('messages').querySelector(`[data-seq="${message.seq}"]`)
  if (existing) existing.replaceWith(item)
  else element('messages').append(item)
}

let presence = ''
let typingTimer
function showHint(text) {
  element('hint').textContent = text || presence
}

chat.room(roomId, { readerId: author, readerSide: side }).subscribe({
  onEvent(event) {
    switch (event.type) {
      case 'snapshot':
        element('messages').replaceChildren()
        event.messages.items.forEach(show)
        break
      case 'message.created':
      case 'message.updated':
      case 'message.deleted':
        show(event.message)
        break
      case 'presence': {
        const isThere = side ? event.customer : event.support
        presence = isThere ? 'The other side is here.' : 'The other side will read it later.'
        showHint()
        break
      }
      case 'typing':
        if (event.side === side) break
        clearTimeout(typingTimer)
        showHint(event.isTyping && `${event.userId} is typing …`)
        typingTimer = setTimeout(showHint, event.expiresAt - Date.now())
    }
  },
  onState(state) {
    element('state').dataset.status = state.status
    element('state').textContent = state.retryAt
      ? `${state.status}, next try at ${state.retryAt.toLocaleTimeString()}`
      : state.status
  },
  onError(error) {
    showHint(`The connection failed: ${error.message}`)
  },
})

let typedAt = 0
element('text').addEventListener('input', () => {
  // The server does not broadcast repetitions within 2 seconds.
  if (Date.now() - typedAt < 2_000) return
  typedAt = Date.now()
  chat.setTyping({ roomId, isTyping: true, userId: author, side }).catch(() => {})
})

document.querySelector('form').addEventListener('submit', async (event) => {
  event.preventDefault()
  const input = element('text')
  const messageData = input.value
  input.value = ''
  try {
    const clientMessageId = crypto.randomUUID()
    await chat.createMessage({ roomId, messageData, side, author, clientMessageId })
  } catch (error) {
    input.value = messageData
    showHint(error.message)
  }
})
