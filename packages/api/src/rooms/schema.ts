import { PREVIEW_CHARACTERS, previewOf, type RoomRow } from '@dowell-chat/db'
import { z } from 'zod'
import {
  boolean,
  id,
  label,
  name,
  newForeignId,
  newLabel,
  subject,
  time,
  unreadOfReader,
} from '../encoding/fields.ts'
import { BYTES_PER_CHARACTER } from '../encoding/pageBytes.ts'
import { versionField } from '../operation/preconditions.ts'
import type { InternalRoomField } from '../organisations/schema.ts'
import { custom } from './custom.ts'

/** The `messageData` of a room without messages. */
export const GREETING = 'How may I help you'

/** There is at most one active room for each identity. */
export const roomIdentity = {
  userId: name.meta({
    description: "The end user's id in the product.",
    example: 'ABCD12345',
  }),
  orgId: name.meta({
    description: 'The organisation that supports the user.',
    example: 'DOWELL12345',
  }),
  portfolioName: name.meta({ example: 'umair' }),
  productName: name.meta({ example: 'WIFIQRCODE' }),
}

export const roomId = id.meta({ description: "The room's id." })

const roomStatuses = ['open', 'pending', 'resolved'] as const
const status = z.enum(roomStatuses, { error: `must be one of ${roomStatuses.join(', ')}` })

export const MAX_LABELS = 20

const labelList = <Label extends z.ZodType<string>>(item: Label) =>
  z
    .array(item, { error: 'must be a list' })
    .max(MAX_LABELS, { error: `must have at most ${MAX_LABELS} labels` })
    .refine((labels) => new Set(labels).size === labels.length, {
      error: 'must not have the same label twice',
    })

/** Labels to add to a room's list. */
export const addLabels = labelList(newLabel).meta({
  uniqueItems: true,
  description: 'Labels to add. The others stay. Not together with `labels`.',
})

/** Labels to remove from a room's list. Any text: a label may be older than a rule about labels. */
export const removeLabels = labelList(z.string({ error: 'must be text' })).meta({
  uniqueItems: true,
  description:
    'Labels to remove. The others stay; a label that the room does not have is ignored. Not together with `labels`.',
})

/** The editable fields of a room. */
export const roomDetails = {
  subject: subject.nullable().meta({
    description:
      'What the conversation is about; null: no subject. Blanks at its ends are removed.',
  }),
  status,
  assignee: newForeignId.nullable().meta({
    description: 'The user id of the assigned member of the support team; null: not assigned.',
  }),
  labels: labelList(newLabel).meta({
    uniqueItems: true,
    description: 'The new list of labels. It replaces the previous one.',
  }),
  custom,
}

/** Input fields that select an organisation's rooms. */
export const listing = {
  orgId: roomIdentity.orgId,
  productName: roomIdentity.productName
    .meta({ description: 'Only the rooms of this product. Without it: of all products.' })
    .optional(),
}

const statusesError = `must be one of ${roomStatuses.join(', ')}, or a list of 1 to ${roomStatuses.length} of them`

/** Further filters of a room list, by the current state of each room. */
export const roomFilter = {
  userId: roomIdentity.userId.meta({ description: 'Only the rooms of this end user.' }).optional(),
  status: z
    .union(
      [status, z.array(status).min(1, statusesError).max(roomStatuses.length, statusesError)],
      {
        error: statusesError,
      },
    )
    .meta({ description: 'Only rooms with this status, or with one of these.' })
    .optional(),
  assignee: name
    .nullable()
    .meta({
      description:
        'Only rooms that are assigned to this user. Empty (in tRPC: null): only rooms that nobody is assigned to.',
    })
    .optional(),
  label: label.meta({ description: 'Only rooms with this label.' }).optional(),
  isActive: boolean
    .meta({ description: 'True: only rooms that are not deleted. False: only deleted rooms.' })
    .optional(),
}

const preview = `The first ${PREVIEW_CHARACTERS} characters of the latest message that is not deleted`

const LastMessage = z
  .object({
    seq: z.int().positive().meta({ description: 'Position in the room.', example: 1 }),
    messageType: z.string(),
    messageData: z.string().meta({ description: `${preview}.` }),
    side: z.boolean().meta({ description: 'False: the customer. True: the support team.' }),
    author: z.string(),
    createdAt: time,
  })
  .meta({ id: 'LastMessage', additionalProperties: true })
type LastMessage = z.output<typeof LastMessage>

export const Room = z
  .object({
    id,
    eventId: z.string().meta({ example: 'FB10100000001693018738#5535526' }),
    userId: z.string(),
    orgId: z.string(),
    portfolioName: z.string(),
    roomRoomId: z.string().meta({
      description: "The product's code, or its name if it has no code, a hyphen, and the user id.",
      example: '13-ABCD12345',
    }),
    productName: z.string(),
    messageData: z.string().meta({
      description: `${preview}; "${GREETING}" if there is none.`,
    }),
    lastMessage: LastMessage.nullable().meta({
      description: 'The latest message that is not deleted; null: none.',
    }),
    isActive: z.boolean().meta({ description: 'False once the room is deleted.' }),
    subject: z
      .string()
      .nullable()
      .meta({ description: 'What the conversation is about; null: no subject.' }),
    status: z.enum(roomStatuses),
    assignee: z.string().nullable().meta({
      description: 'The user id of the assigned member of the support team; null: not assigned.',
    }),
    labels: z.array(z.string()),
    custom: z
      .record(z.string(), z.unknown())
      .meta({ description: "The organisation's own data for this room." }),
    createdAt: time,
    updatedAt: time,
    version: versionField(
      '`subject`, `status`, `assignee`, `labels`, `custom` and `isActive`; a message does not change it',
    ),
  })
  .meta({ id: 'Room', additionalProperties: true })
export type Room = z.output<typeof Room>

export const RoomListItem = Room.extend({ unread: unreadOfReader }).meta({
  id: 'RoomListItem',
  additionalProperties: true,
})
export type RoomListItem = z.output<typeof RoomListItem>

export function toRoom(row: RoomRow): Room {
  return {
    id: row.id,
    eventId: row.event_id,
    userId: row.user_id,
    orgId: row.org_id,
    portfolioName: row.portfolio_name,
    roomRoomId: row.room_room_id,
    productName: row.product_name,
    messageData: row.last_message === null ? GREETING : previewOf(row.last_message),
    lastMessage: toLastMessage(row),
    isActive: row.is_active === 1,
    subject: row.subject,
    status: row.status,
    assignee: row.assignee,
    labels: row.labels === '[]' ? [] : JSON.parse(row.labels),
    custom: row.custom === '{}' ? {} : JSON.parse(row.custom),
    createdAt: new Date(row.created_at),
    updatedAt: new Date(row.updated_at),
    version: row.details_version,
  }
}

function toLastMessage(row: RoomRow): LastMessage | null {
  if (row.last_message === null || row.last_message_seq === null) return null
  return {
    seq: row.last_message_seq,
    messageType: row.last_message_type ?? '',
    messageData: previewOf(row.last_message),
    side: row.last_message_side === 1,
    author: row.last_message_author ?? '',
    createdAt: new Date(row.last_message_at ?? row.updated_at),
  }
}

/** The columns that are hidden from a reader, with the values shown instead. */
export type HiddenColumns = Partial<Pick<RoomRow, InternalRoomField>>

export const hiddenValues: Required<HiddenColumns> = { assignee: null, labels: '[]', custom: '{}' }

/** A room without the values that are hidden; the same object if it has none. */
export function withoutHidden(room: RoomRow, hidden: HiddenColumns): RoomRow {
  const fields = Object.keys(hidden) as InternalRoomField[]
  return fields.every((field) => room[field] === hidden[field]) ? room : { ...room, ...hidden }
}

/** An upper bound for the size of a room as JSON, in bytes. */
export function roomBytesAtMost(row: RoomRow): number {
  const texts = [
    ...[row.user_id, row.org_id, row.portfolio_name, row.product_name, row.room_room_id],
    ...[row.subject, row.assignee, row.labels, row.custom],
    ...[row.last_message, row.last_message, row.last_message_author],
  ]
  const characters = texts.reduce((sum, text) => sum + (text?.length ?? 0), 0)
  return 1_000 + BYTES_PER_CHARACTER * characters
}

export const exampleRoom = {
  id: '64e96a73f59c079a226e1ae9',
  eventId: 'FB10100000001693018738#5535526',
  userId: 'ABCD12345',
  orgId: 'DOWELL12345',
  portfolioName: 'umair',
  roomRoomId: '13-ABCD12345',
  productName: 'WIFIQRCODE',
  messageData: GREETING,
  lastMessage: null,
  isActive: true,
  subject: null,
  status: 'open',
  assignee: null,
  labels: [],
  custom: {},
  createdAt: '2023-08-26T02:58:58.000Z',
  updatedAt: '2023-08-26T02:58:58.000Z',
  version: 1,
}
