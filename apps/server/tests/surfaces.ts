import { type Answer, type Json, type Outgoing, type Surface, send, sendJson } from './http.ts'

/** A message, in the names that no surface has. */
export interface Draft {
  readonly room: string
  readonly text: unknown
  readonly author?: unknown
  readonly side?: unknown
  readonly kind?: unknown
  readonly clientId?: unknown
}

interface Server {
  readonly url: string
}

/** The same operations as callers of each surface make them. */
export interface Caller {
  openRoom(app: Server, user: unknown, org?: unknown): Promise<Answer>
  say(app: Server, draft: Draft): Promise<Answer>
  /** The newest messages, oldest first. */
  read(app: Server, room: string): Promise<Said[]>
}

export interface Said {
  readonly text: string
  readonly author: string
  readonly side: boolean
  readonly seq: number
}

/** A call over tRPC's wire: queries by GET, everything else by POST. */
export function trpc(app: Server, name: string, input: unknown): Promise<Answer> {
  if (!/^(get|list)/.test(name)) return sendJson(app, `/trpc/${name}`, { json: input })
  const query = encodeURIComponent(JSON.stringify({ json: input }))
  return send(app, { path: `/trpc/${name}?input=${query}` })
}

/** A v2 call whose fields are sent as a form. */
export function formV2(fields: Record<string, string>): Outgoing {
  return {
    path: '/api/v2/room-service/',
    method: 'POST',
    headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams(fields).toString(),
  }
}

/** A v2 call whose fields are sent as multipart. */
export function multipartV2(fields: Record<string, string>, boundary = 'between'): Outgoing {
  const parts = Object.entries(fields).map(
    ([name, value]) =>
      `--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`,
  )
  return {
    path: '/api/v2/room-service/',
    method: 'POST',
    headers: { 'Content-Type': `multipart/form-data; boundary=${boundary}` },
    body: `${parts.join('')}--${boundary}--\r\n`,
  }
}

const PORTFOLIO = 'umair'
const PRODUCT = 'WIFIQRCODE'
const ORG = 'DOWELL12345'

export const surfaces: Record<Surface, Caller> = {
  v2: {
    openRoom: (app, user, org = ORG) =>
      sendJson(app, '/api/v2/room-control/', {
        user_id: user,
        org_id: org,
        portfolio_name: PORTFOLIO,
        product_name: PRODUCT,
      }),
    say: (app, { room, text, author = 'client', side = false, kind, clientId }) =>
      sendJson(app, '/api/v2/room-service/', {
        type: 'create_message',
        room_id: room,
        message_data: text,
        auther: author,
        side,
        message_type: kind,
        client_message_id: clientId,
      }),
    async read(app, room) {
      const path = `/api/v2/room-service/?type=get_messages&room_id=${room}`
      const { body } = await send(app, { path })
      const messages = body?.response as unknown as Record<string, never>[]
      return messages.map((message) => ({
        text: message.message_data as unknown as string,
        author: message.auther as unknown as string,
        side: message.side as unknown as boolean,
        seq: message.seq as unknown as number,
      }))
    },
  },
  v3: {
    openRoom: (app, user, org = ORG) => sendJson(app, '/api/v3/rooms', roomInput(user, org)),
    say: (app, draft) => {
      const { roomId, ...body } = messageInput(draft)
      return sendJson(app, `/api/v3/rooms/${roomId}/messages`, body)
    },
    async read(app, room) {
      const { body } = await send(app, { path: `/api/v3/rooms/${room}/messages?limit=200` })
      return saidIn(body)
    },
  },
  trpc: {
    openRoom: (app, user, org = ORG) => trpc(app, 'createRoom', roomInput(user, org)),
    say: (app, draft) => trpc(app, 'createMessage', messageInput(draft)),
    async read(app, room) {
      const { body } = await trpc(app, 'getMessages', { roomId: room, limit: 200 })
      return saidIn(body?.result?.data?.json)
    },
  },
}

export const everySurface = Object.keys(surfaces) as Surface[]

function roomInput(userId: unknown, orgId: unknown) {
  return { userId, orgId, portfolioName: PORTFOLIO, productName: PRODUCT }
}

function messageInput({ room, text, author = 'client', side = false, kind, clientId }: Draft) {
  return {
    roomId: room,
    messageData: text,
    author,
    side,
    messageType: kind,
    clientMessageId: clientId,
  }
}

function saidIn(page: Json | undefined): Said[] {
  const items = page?.items as unknown as (Omit<Said, 'text'> & { messageData: string })[]
  return items.map(({ messageData, author, side, seq }) => ({
    text: messageData,
    author,
    side,
    seq,
  }))
}
