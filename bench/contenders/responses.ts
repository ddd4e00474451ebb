import { Buffer } from 'node:buffer'
import { randomBytes } from 'node:crypto'

// REST v3 responses from rows of the project's schema, for the contenders other than this server.

export const PAGE_SIZE = 50

export interface MessageRow {
  id: string
  room_id: string
  seq: number
  message_data: string
  side: 0 | 1
  author: string
  message_type: string
  client_message_id: string | null
  is_active: 0 | 1
  created_at: number
  edited_at: number | null
  deleted_at: number | null
  text_version: number
}

export interface RoomRow {
  id: string
  org_id: string
  position: number
  event_id: string
  user_id: string
  portfolio_name: string
  product_name: string
  room_room_id: string
  is_active: 0 | 1
  subject: string | null
  status: string
  assignee: string | null
  labels: string
  custom: string
  last_seq: number
  last_message: string | null
  last_message_seq: number | null
  last_message_type: string | null
  last_message_side: 0 | 1 | null
  last_message_author: string | null
  last_message_at: number | null
  created_at: number
  updated_at: number
  details_version: number
}

export function toMessage(row: MessageRow) {
  return {
    id: row.id,
    roomId: row.room_id,
    seq: row.seq,
    messageData: row.message_data,
    side: row.side === 1,
    author: row.author,
    messageType: row.message_type,
    clientMessageId: row.client_message_id,
    isActive: row.is_active === 1,
    createdAt: new Date(row.created_at),
    editedAt: row.edited_at === null ? null : new Date(row.edited_at),
    deletedAt: row.deleted_at === null ? null : new Date(row.deleted_at),
    version: row.text_version,
  }
}

export function toRoom(row: RoomRow) {
  return {
    id: row.id,
    eventId: row.event_id,
    userId: row.user_id,
    orgId: row.org_id,
    portfolioName: row.portfolio_name,
    roomRoomId: row.room_room_id,
    productName: row.product_name,
    messageData: row.last_message ?? 'How may I help you',
    lastMessage: toLastMessage(row),
    isActive: row.is_active === 1,
    subject: row.subject,
    status: row.status,
    assignee: row.assignee,
    labels: JSON.parse(row.labels),
    custom: JSON.parse(row.custom),
    createdAt: new Date(row.created_at),
    updatedAt: new Date(row.updated_at),
    version: row.details_version,
  }
}

function toLastMessage(row: RoomRow) {
  if (row.last_message_seq === null) return null
  return {
    seq: row.last_message_seq,
    messageType: row.last_message_type as string,
    messageData: row.last_message as string,
    side: row.last_message_side === 1,
    author: row.last_message_author as string,
    createdAt: new Date(row.last_message_at as number),
  }
}

export function newId(now: number): string {
  return Math.floor(now / 1000).toString(16) + randomBytes(8).toString('hex')
}

export function formatCursor(list: string, boundary: number): string {
  return Buffer.from(`${list}:${boundary}`).toString('base64url')
}

/** Returns the position in a cursor. */
export function parseCursor(cursor: string): number {
  return Number(Buffer.from(cursor, 'base64url').toString().slice(2))
}

/** Creates a page that ends at the position `to` of a room with `last` messages. */
export function messagePage(rows: readonly MessageRow[], to: number, last: number) {
  const from = Math.max(0, to - PAGE_SIZE)
  return {
    items: rows.map(toMessage),
    before: formatCursor('m', from),
    after: formatCursor('m', to),
    hasBefore: from > 0,
    hasAfter: to < last,
  }
}

/** @param rows newest first; one more than the page size if there are more */
export function roomPage(rows: readonly RoomRow[]) {
  const shown = rows.slice(0, PAGE_SIZE).reverse()
  return {
    items: shown.map((row) => ({ ...toRoom(row), unread: null })),
    before: formatCursor('r', (shown[0]?.position ?? 1) - 1),
    after: formatCursor('r', shown.at(-1)?.position ?? 0),
    hasBefore: rows.length > PAGE_SIZE,
    hasAfter: false,
  }
}

export interface NewMessage {
  readonly messageData: string
  readonly side: boolean
  readonly author: string
  readonly messageType: string
}

export function newMessageRow(
  roomId: string,
  seq: number,
  message: NewMessage,
  now: number,
): MessageRow {
  return {
    id: newId(now),
    room_id: roomId,
    seq,
    message_data: message.messageData,
    side: message.side ? 1 : 0,
    author: message.author,
    message_type: message.messageType,
    client_message_id: null,
    is_active: 1,
    created_at: now,
    edited_at: null,
    deleted_at: null,
    text_version: 1,
  }
}
