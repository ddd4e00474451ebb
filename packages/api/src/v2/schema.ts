import type { RoomRow } from '@dowell-chat/db'
import { z } from 'zod'
import { jsonBytes } from '../encoding/pageBytes.ts'
import type { Page } from '../encoding/paging.ts'
import type { ItemFrame } from '../messages/page.ts'
import { exampleMessage, Message } from '../messages/schema.ts'
import { exampleRoom, Room, toRoom } from '../rooms/schema.ts'

/** A room with the documented keys and our additional ones. */
export const RoomV2 = z
  .object({
    _id: Room.shape.id,
    eventId: Room.shape.eventId,
    user_id: Room.shape.userId,
    org_id: Room.shape.orgId,
    portfolio_name: Room.shape.portfolioName,
    room_room_id: Room.shape.roomRoomId,
    product_name: Room.shape.productName,
    message_data: Room.shape.messageData,
    is_active: Room.shape.isActive,
    room_id: Room.shape.id.meta({ description: 'The same as `_id`.' }),
    created_at: Room.shape.createdAt,
    updated_at: Room.shape.updatedAt,
  })
  .meta({ id: 'RoomV2', additionalProperties: true })
export type RoomV2 = z.output<typeof RoomV2>

export function toRoomV2(room: Room): RoomV2 {
  return {
    _id: room.id,
    eventId: room.eventId,
    user_id: room.userId,
    org_id: room.orgId,
    portfolio_name: room.portfolioName,
    room_room_id: room.roomRoomId,
    product_name: room.productName,
    message_data: room.messageData,
    is_active: room.isActive,
    room_id: room.id,
    created_at: room.createdAt,
    updated_at: room.updatedAt,
  }
}

/** A message with the documented keys, some of which are its room's, and our additional ones. */
export const MessageV2 = z
  .object({
    _id: Message.shape.id.meta({ description: "The message's id." }),
    eventId: Room.shape.eventId,
    user_id: Room.shape.userId,
    org_id: Room.shape.orgId,
    portfolio_name: Room.shape.portfolioName,
    room_room_id: Room.shape.roomRoomId,
    product_name: Room.shape.productName,
    message_data: Message.shape.messageData,
    is_active: Message.shape.isActive,
    room_id: Message.shape.roomId,
    seq: Message.shape.seq,
    side: Message.shape.side,
    author: Message.shape.author,
    auther: z.string().meta({ description: 'The same as `author`, in the original spelling.' }),
    message_type: Message.shape.messageType,
    client_message_id: Message.shape.clientMessageId,
    created_at: Message.shape.createdAt,
  })
  .meta({ id: 'MessageV2', additionalProperties: true })
export type MessageV2 = z.output<typeof MessageV2>

export function toMessageV2(message: Message, room: RoomV2): MessageV2 {
  return {
    _id: message.id,
    eventId: room.eventId,
    user_id: room.user_id,
    org_id: room.org_id,
    portfolio_name: room.portfolio_name,
    room_room_id: room.room_room_id,
    product_name: room.product_name,
    message_data: message.messageData,
    is_active: message.isActive,
    room_id: message.roomId,
    seq: message.seq,
    side: message.side,
    author: message.author,
    auther: message.author,
    message_type: message.messageType,
    client_message_id: message.clientMessageId,
    created_at: message.createdAt,
  }
}

/** The overhead per message: the keys of its room, whose names may have 200 characters each, and its author twice. */
export function messageFrameV2(room: RoomRow): ItemFrame {
  return {
    format: 'v2',
    authors: 2,
    bytesAtMost: 8_000,
    bytes: () => jsonBytes(toMessageV2(longestMessage, toRoomV2(toRoom(room)))),
  }
}

/** The longest values, with an empty text and author. */
const longestMessage: Message = {
  ...exampleMessage,
  seq: Number.MAX_SAFE_INTEGER,
  messageData: '',
  author: '',
  messageType: 'system',
  clientMessageId: 'x'.repeat(64),
  createdAt: new Date(0),
  editedAt: null,
  deletedAt: null,
}

export const Paging = z
  .object({
    limit: z.int().positive().meta({ description: 'Maximum number of items in the response.' }),
    before: z.string().meta({ description: 'Send it as `before` for the previous page.' }),
    after: z.string().meta({ description: 'Send it as `after` for the next page.' }),
    has_before: z.boolean().meta({ description: 'Whether there are items before this page.' }),
    has_after: z.boolean().meta({ description: 'Whether there are items after this page.' }),
  })
  .meta({
    id: 'PagingV2',
    additionalProperties: true,
    description: 'The page of the list in the response, and how to request the others.',
  })

export function toPaging(page: Page<unknown>, limit: number): z.output<typeof Paging> {
  return {
    limit,
    before: page.before,
    after: page.after,
    has_before: page.hasBefore,
    has_after: page.hasAfter,
  }
}

export const exampleRoomV2 = {
  _id: exampleRoom.id,
  eventId: exampleRoom.eventId,
  user_id: exampleRoom.userId,
  org_id: exampleRoom.orgId,
  portfolio_name: exampleRoom.portfolioName,
  room_room_id: exampleRoom.roomRoomId,
  product_name: exampleRoom.productName,
  message_data: exampleRoom.messageData,
  is_active: exampleRoom.isActive,
  room_id: exampleRoom.id,
  created_at: exampleRoom.createdAt,
  updated_at: exampleRoom.updatedAt,
}

export const exampleMessageV2 = {
  _id: exampleMessage.id,
  eventId: exampleRoom.eventId,
  user_id: exampleRoom.userId,
  org_id: exampleRoom.orgId,
  portfolio_name: exampleRoom.portfolioName,
  room_room_id: exampleRoom.roomRoomId,
  product_name: exampleRoom.productName,
  message_data: exampleMessage.messageData,
  is_active: exampleMessage.isActive,
  room_id: exampleMessage.roomId,
  seq: exampleMessage.seq,
  side: exampleMessage.side,
  author: exampleMessage.author,
  auther: exampleMessage.author,
  message_type: exampleMessage.messageType,
  client_message_id: exampleMessage.clientMessageId,
  created_at: exampleMessage.createdAt,
}
