// A live room for the customer; for the support team with ?side=support. Run it with serve.ts.
import { createDowellChat } from '@dowell-chat/client'

// Your own page also passes `token`, a function that fetches a user token from your back end. A server with keys needs it.
const chat = createDowellChat({ url: SERVER_URL })

const parameters = new URLSearchParams(location.search)
const side = parameters.get('side') === 'support'
const customer = parameters.get('customer') ?? 'ABCD12345'
const author = side ? 'Amara' : customer

const element = (id) => document.getElementById(id)
element('title').textContent = side ? `Support for ${customer}` : 'Your conversation with support'

function showState(status, text = status) {
  element('state').dataset.status = status
  element('state').textContent = text
}

let presence = ''
let typingTimer
function showHint(text) {
  element('hint').textContent = text || presence
}

function explain(error) {
  const needsCredential = error.code === 'UNAUTHORIZED' || error.code === 'FORBIDDEN'
  return needsCredential
    ? `This server needs a credential: pass createDowellChat a user token. (${error.message})`
    : error.message
}

/** Repeats a call until it is answered. Safe for createRoom, and for a message with a `clientMessageId`. */
async function untilAnswered(call, advice = '') {
  for (let failures = 1; ; failures++) {
    try {
      return await call()
    } catch (error) {
      if (!error.isPassing) throw error
      showHint(`No answer yet: ${error.message}. ${advice}`)
      const delay = Math.max(error.retryAfter ?? 0, Math.min(500 * failures, 10_000))
      await new Promise((resolve) => setTimeout(resolve, delay))
    }
  }
}

function fail(error) {
  showState('closed', 'not connected')
  showHint(explain(error))
  throw error
}

const { room } = await untilAnswered(
  () =>
    chat.createRoom({
      userId: customer,
      orgId: 'DOWELL12345',
      portfolioName: 'umair',
      productName: 'WIFIQRCODE',
    }),
  // A browser does not show an answer without CORS headers.
  `A server with keys must list ${location.origin} in CORS_ORIGINS, and needs a credential.`,
).catch(fail)
const roomId = room.id
showHint()

function show(message) {
  const item = document.createElement('li')
  item.textContent = message.isActive ? message.messageData : '(deleted)'
  item.className = message.side === side ? 'own' : ''
  item.dataset.seq = message.seq
  const existing = element('messages').querySelector(`[data-seq="${message.seq}"]`)
  if (existing) existing.replaceWith(item)
  else element('messages').append(item)
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
        typingTimer = setTimeout(showHint, event.expiresInMs)
    }
  },
  onState(state) {
    const { status, retryAt } = state
    showState(status, retryAt && `${status}, next try at ${retryAt.toLocaleTimeString()}`)
  },
  onError(error) {
    showHint(`The connection failed: ${explain(error)}`)
  },
})

let typedAt = 0
element('text').addEventListener('input', () => {
  // The server does not broadcast repetitions within 2 seconds.
  if (Date.now() - typedAt < 2_000) return
  typedAt = Date.now()
  chat.setTyping({ roomId, isTyping: true, userId: author, side }).catch(() => {})
})

/** Messages that the server has not confirmed, in order. */
const unsent = []

async function sendUnsent() {
  while (unsent.length > 0) {
    const [message] = unsent
    try {
      await untilAnswered(() => chat.createMessage(message))
      showHint()
    } catch (error) {
      showHint(`Not sent: ${message.messageData} (${explain(error)})`)
      // What was typed since stays.
      element('text').value ||= message.messageData
    }
    unsent.shift()
  }
}

document.querySelector('form').addEventListener('submit', (event) => {
  event.preventDefault()
  const { value: messageData } = element('text')
  element('text').value = ''
  // One id for all attempts: a message whose answer was lost is not stored again.
  const clientMessageId = crypto.randomUUID()
  unsent.push({ roomId, messageData, side, author, clientMessageId })
  if (unsent.length === 1) sendUnsent()
})
