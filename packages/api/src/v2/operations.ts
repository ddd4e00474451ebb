import { z } from 'zod'
import { encodeOnce } from '../encoding/encodeOnce.ts'
import { type Page, pageInput } from '../encoding/paging.ts'
import { createMessage } from '../messages/createMessage.ts'
import { readMessagePage } from '../messages/getMessages.ts'
import { newAuthor } from '../messages/policy.ts'
import { Message, messageInput } from '../messages/schema.ts'
import type { Call } from '../operation/context.ts'
import type { ErrorCode } from '../operation/errors.ts'
import type { Executable } from '../operation/operation.ts'
import { type OperationName, operationNamed } from '../operation/operations.ts'
import { createRoom } from '../rooms/createRoom.ts'
import { deleteRoom, isActive } from '../rooms/deleteRoom.ts'
import { getRoomById } from '../rooms/getRoomById.ts'
import { listRooms } from '../rooms/listRooms.ts'
import { listing, Room, roomId, roomIdentity, toRoom } from '../rooms/schema.ts'
import {
  exampleMessageV2,
  exampleRoomV2,
  MessageV2,
  messageFrameV2,
  Paging,
  RoomV2,
  toMessageV2,
  toPaging,
  toRoomV2,
} from './schema.ts'

export type V2Method = 'GET' | 'POST' | 'DELETE'

/** A documented operation: another wire format of one of ours, with the same access and cost. */
export interface V2Operation extends Executable {
  /** The name of our operation. */
  readonly name: OperationName
  /** The documented URL, without its trailing slash. */
  readonly url: string
  /** Selects this operation where several share a URL. */
  readonly type?: string
  readonly methods: readonly V2Method[]
  readonly summary: string
  readonly description?: string
  readonly output: z.ZodType
  readonly errors?: readonly ErrorCode[]
  readonly example: { input: Record<string, unknown>; output: unknown }
}

function v2<Input extends z.ZodObject, Output>(
  definition: Omit<V2Operation, 'access' | 'cost' | 'errors' | 'input' | 'output' | 'run'> & {
    input: Input
    output: z.ZodType<Output>
    run(call: Call, input: z.output<Input>): Promise<Output>
  },
): V2Operation {
  const { access, cost, errors = [] } = operationNamed(definition.name)
  // v2 has no preconditions.
  const own = errors.filter((code) => code !== 'PRECONDITION_FAILED')
  return { access, cost, errors: own, ...definition } as V2Operation
}

/** Items per page: the default and the maximum. */
const V2_LIMIT = 1000

const limitError = `must be a whole number from 1 to ${V2_LIMIT}`
const pageFields = {
  limit: z
    .int({ error: limitError })
    .min(1, { error: limitError })
    .max(V2_LIMIT, { error: limitError })
    .meta({ description: `Maximum number of items; ${V2_LIMIT} by default.` })
    .optional(),
  before: pageInput.before,
  after: pageInput.after,
}

const success = z.literal(true)
const DETAILS = 'Room deatils based on workspace id'
const exampleRoomId = '64ed7d75a57293efb539eb19'

const MessagesV2 = z
  .object({
    success,
    message: z.literal(DETAILS),
    response: z.array(MessageV2),
    paging: Paging,
  })
  .meta({ id: 'GetMessagesV2Result', additionalProperties: true })

/** @param room as it was when the page was read */
function toMessagesV2(
  page: Page<Message>,
  room: RoomV2,
  limit: number,
): z.output<typeof MessagesV2> {
  const convert = () =>
    ({
      success: true,
      message: DETAILS,
      response: page.items.map((message) => toMessageV2(message, room)),
      paging: toPaging(page, limit),
    }) as const
  // Frozen pages are shared between callers.
  return Object.isFrozen(page) ? encodeOnce(page, 'v2', () => Object.freeze(convert())) : convert()
}

export const v2Operations: readonly V2Operation[] = [
  v2({
    name: 'createRoom',
    url: '/api/v2/room-control',
    methods: ['POST'],
    summary: 'Create room',
    description:
      'Returns the active room of this user, organisation, portfolio and product, or opens one. A customer may open rooms only for the products that the organisation lists (403), and only a limited number (429).',
    input: z.object({
      user_id: roomIdentity.userId,
      org_id: roomIdentity.orgId,
      portfolio_name: roomIdentity.portfolioName,
      product_name: roomIdentity.productName,
    }),
    output: z
      .object({
        success,
        message: z.enum(['Room filter successfully', 'Room created successfully']),
        inserted_id: Room.shape.id,
        response: RoomV2,
      })
      .meta({ id: 'CreateRoomV2Result', additionalProperties: true }),
    example: {
      input: {
        user_id: 'ABCD12345',
        org_id: 'DOWELL12345',
        portfolio_name: 'umair',
        product_name: 'WIFIQRCODE',
      },
      output: {
        success: true,
        message: 'Room filter successfully',
        inserted_id: exampleRoomV2._id,
        response: exampleRoomV2,
      },
    },
    async run(call, input) {
      const { room, created } = await createRoom.run(call, {
        userId: input.user_id,
        orgId: input.org_id,
        portfolioName: input.portfolio_name,
        productName: input.product_name,
      })
      return {
        success: true,
        message: created ? 'Room created successfully' : 'Room filter successfully',
        inserted_id: room.id,
        response: toRoomV2(room),
      }
    },
  }),

  v2({
    name: 'createMessage',
    url: '/api/v2/room-service',
    type: 'create_message',
    methods: ['POST'],
    summary: 'Send a message',
    description: 'Send `auther` or `author`. If you send both, they must be equal.',
    input: z
      .object({
        room_id: roomId,
        message_data: messageInput.messageData,
        side: messageInput.side,
        auther: messageInput.author.optional(),
        author: messageInput.author.meta({ description: 'The same as `auther`.' }).optional(),
        message_type: messageInput.messageType,
        client_message_id: messageInput.clientMessageId,
      })
      .superRefine(checkAuthor),
    output: z
      .object({
        success,
        message: z.literal('Message updated successfully'),
        response: z
          .object({ isSuccess: success, inserted_id: Message.shape.id, seq: Message.shape.seq })
          .meta({
            additionalProperties: true,
          }),
      })
      .meta({ id: 'CreateMessageV2Result', additionalProperties: true }),
    example: {
      input: {
        type: 'create_message',
        room_id: exampleRoomId,
        message_data: 'message',
        side: true,
        auther: 'client',
        message_type: 'text',
      },
      output: {
        success: true,
        message: 'Message updated successfully',
        response: { isSuccess: true, inserted_id: exampleMessageV2._id, seq: 1 },
      },
    },
    async run(call, input) {
      const spelling = input.auther === undefined ? 'author' : 'auther'
      const { message } = await createMessage.run(call, {
        roomId: input.room_id,
        messageData: input.message_data,
        side: input.side,
        author: newAuthor(call.actor, input[spelling] as string, spelling),
        messageType: input.message_type,
        clientMessageId: input.client_message_id,
      })
      return {
        success: true,
        message: 'Message updated successfully',
        response: { isSuccess: true, inserted_id: message.id, seq: message.seq },
      }
    },
  }),

  v2({
    name: 'getMessages',
    url: '/api/v2/room-service',
    type: 'get_messages',
    methods: ['GET'],
    summary: "Read a room's messages",
    description: `Oldest first. Without \`limit\`, \`before\` and \`after\`: the latest ${V2_LIMIT}, at most about 1 MiB. \`paging\` says whether there are more.`,
    input: z.object({ room_id: roomId, ...pageFields }),
    output: MessagesV2,
    example: {
      input: { type: 'get_messages', room_id: exampleRoomId },
      output: {
        success: true,
        message: DETAILS,
        response: [exampleMessageV2],
        paging: {
          limit: V2_LIMIT,
          before: 'bTow',
          after: 'bTox',
          has_before: false,
          has_after: false,
        },
      },
    },
    async run(call, { room_id, limit = V2_LIMIT, ...paging }) {
      const request = { roomId: room_id, limit, ...paging }
      const { page, room } = await readMessagePage(call, request, messageFrameV2)
      return toMessagesV2(page, toRoomV2(toRoom(room)), limit)
    },
  }),

  v2({
    name: 'getRoomById',
    url: '/api/v2/room-service',
    type: 'get_room_by_id',
    methods: ['GET'],
    summary: 'Read a room',
    input: z.object({ room_id: roomId }),
    output: z
      .object({ success, message: z.literal(DETAILS), response: z.array(RoomV2) })
      .meta({ id: 'GetRoomByIdV2Result', additionalProperties: true }),
    example: {
      input: { type: 'get_room_by_id', room_id: exampleRoomV2._id },
      output: { success: true, message: DETAILS, response: [exampleRoomV2] },
    },
    async run(call, input) {
      const room = await getRoomById.run(call, { roomId: input.room_id })
      return { success: true, message: DETAILS, response: [toRoomV2(room)] }
    },
  }),

  v2({
    name: 'deleteRoom',
    url: '/api/v2/room-service',
    type: 'delete_room',
    methods: ['GET', 'POST', 'DELETE'],
    summary: 'Delete or restore a room',
    description: '`is_active` false (the default) deletes the room; true restores it.',
    input: z.object({ room_id: roomId, is_active: isActive.optional() }),
    output: z
      .object({
        success,
        message: z.enum(['Room deleted successfully', 'Room restored successfully']),
        response: z.object({ isSuccess: success }).meta({ additionalProperties: true }),
      })
      .meta({ id: 'DeleteRoomV2Result', additionalProperties: true }),
    example: {
      input: { type: 'delete_room', room_id: '64edd973bb5e27de179c721c', is_active: false },
      output: {
        success: true,
        message: 'Room deleted successfully',
        response: { isSuccess: true },
      },
    },
    async run(call, input) {
      const room = await deleteRoom.run(call, {
        roomId: input.room_id,
        isActive: input.is_active,
      })
      return {
        success: true,
        message: room.isActive ? 'Room restored successfully' : 'Room deleted successfully',
        response: { isSuccess: true },
      }
    },
  }),

  v2({
    name: 'listRooms',
    url: '/api/v2/room-list',
    methods: ['GET'],
    summary: "List an organisation's rooms",
    description: `Oldest first. Without \`limit\`, \`before\` and \`after\`: the latest ${V2_LIMIT}, at most about 1 MiB. \`paging\` says whether there are more.`,
    input: z.object({
      org_id: listing.orgId,
      product_name: listing.productName,
      ...pageFields,
    }),
    output: z
      .object({ rooms: z.array(RoomV2), paging: Paging })
      .meta({ id: 'ListRoomsV2Result', additionalProperties: true }),
    example: {
      input: { org_id: 'DOWELL12345', product_name: 'WORKFLOWAI' },
      output: {
        rooms: [{ ...exampleRoomV2, product_name: 'WORKFLOWAI', room_room_id: '11-ABCD12345' }],
        paging: {
          limit: V2_LIMIT,
          before: 'cjow',
          after: 'cjox',
          has_before: false,
          has_after: false,
        },
      },
    },
    async run(call, { org_id, product_name, limit = V2_LIMIT, ...paging }) {
      const request = { orgId: org_id, productName: product_name, limit, ...paging }
      const page = await listRooms.run(call, request)
      return { rooms: page.items.map(toRoomV2), paging: toPaging(page, limit) }
    },
  }),
]

/** The documentation misspells `author` as `auther`, so both are accepted. */
interface AuthorFields {
  readonly auther?: string | undefined
  readonly author?: string | undefined
}

/** Requires one of the two spellings, or both if they agree. */
function checkAuthor({ auther, author }: AuthorFields, ctx: z.RefinementCtx): void {
  if (auther === undefined && author === undefined) {
    ctx.addIssue({ code: 'custom', path: ['auther'], message: 'is required' })
  } else if (auther !== undefined && author !== undefined && auther !== author) {
    ctx.addIssue({ code: 'custom', path: ['author'], message: 'must agree with auther' })
  }
}
