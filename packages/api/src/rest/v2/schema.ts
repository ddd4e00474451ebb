import { z } from 'zod'
import { time } from '../../fields.ts'
import { exampleMessage, type Message } from '../../messages/schema.ts'
import type { Page } from '../../paging.ts'
import { exampleRoom, type Room } from '../../rooms/schema.ts'

/** A room in the documented names, and what we add to them. */
export const RoomV2 = z
  .object({
    _id: z.string(),
    eventId: z.string(),
    user_id: z.string(),
    org_id: z.string(),
    portfolio_name: z.string(),
    room_room_id: z.string(),
    product_name: z.string(),
    message_data: z.string(),
    is_active: z.boolean(),
    room_id: z.string().meta({ description: 'The same as `_id`.' }),
    created_at: time,
    updated_at: time,
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

/** A message: the documented keys, of which the middle ones are its room's, and then what a message is. */
export const MessageV2 = z
  .object({
    _id: z.string().meta({ description: "The message's id." }),
    eventId: z.string(),
    user_id: z.string(),
    org_id: z.string(),
    portfolio_name: z.string(),
    room_room_id: z.string(),
    product_name: z.string(),
    message_data: z.string(),
    is_active: z.boolean().meta({ description: 'False once the message is deleted.' }),
    room_id: z.string(),
    seq: z.int(),
    side: z.boolean().meta({ description: 'False: the customer. True: the support team.' }),
    author: z.string(),
    auther: z.string().meta({ description: 'The same as `author`, as it was first spelled.' }),
    message_type: z.string(),
    client_message_id: z.string().nullable(),
    created_at: time,
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

export const Paging = z
  .object({
    limit: z.int(),
    before: z.string(),
    after: z.string(),
    has_before: z.boolean(),
    has_after: z.boolean(),
  })
  .meta({
    id: 'PagingV2',
    additionalProperties: true,
    description: 'Which part of the whole the answer holds, and how to ask for the rest.',
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
  ...exampleRoomV2,
  _id: exampleMessage.id,
  message_data: exampleMessage.messageData,
  room_id: exampleMessage.roomId,
  seq: exampleMessage.seq,
  side: exampleMessage.side,
  author: exampleMessage.author,
  auther: exampleMessage.author,
  message_type: exampleMessage.messageType,
  client_message_id: exampleMessage.clientMessageId,
  created_at: exampleMessage.createdAt,
}
