import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import { initTRPC, TRPCError } from '@trpc/server'
import { createExpressMiddleware } from '@trpc/server/adapters/express'
import SqliteDriver from 'better-sqlite3'
import express from 'express'
import { type Generated, Kysely, PostgresDialect, SqliteDialect } from 'kysely'
import pg from 'pg'
import superjson from 'superjson'
import { createOpenApiExpressMiddleware, type OpenApiMeta } from 'trpc-to-openapi'
import { z } from 'zod'
import {
  messagePage,
  newId,
  PAGE_SIZE,
  parseCursor,
  roomPage,
  toMessage,
  toRoom,
} from './responses.ts'
import { databaseUrl, serve } from './serve.ts'

// The same libraries as their guides use them: express, tRPC's adapter, superjson, trpc-to-openapi's middleware for REST,
// Kysely's query builder, and a transaction per write, on the project's schema. No authentication, limits or log.

interface Tables {
  organisations: { id: string; created_at: number; last_room_position: number }
  rooms: {
    id: string
    org_id: string
    position: number
    event_id: string
    user_id: string
    portfolio_name: string
    product_name: string
    room_room_id: string
    is_active: 0 | 1
    subject: Generated<string | null>
    status: Generated<string>
    assignee: Generated<string | null>
    labels: Generated<string>
    custom: Generated<string>
    version: Generated<number>
    details_version: Generated<number>
    last_seq: number
    last_message: string | null
    last_message_seq: Generated<number | null>
    last_message_type: Generated<string | null>
    last_message_side: Generated<0 | 1 | null>
    last_message_author: Generated<string | null>
    last_message_at: Generated<number | null>
    created_at: number
    updated_at: number
  }
  messages: {
    org_id: string
    room_id: string
    seq: number
    id: string
    side: 0 | 1
    author: string
    message_type: string
    message_data: string
    client_message_id: Generated<string | null>
    is_active: Generated<0 | 1>
    created_at: number
    edited_at: Generated<number | null>
    deleted_at: Generated<number | null>
    text_version: Generated<number>
  }
}

function sqlite(file: string): SqliteDialect {
  const database = new SqliteDriver(file, { timeout: 5000 })
  database.pragma('journal_mode = WAL')
  database.pragma('synchronous = NORMAL')
  database.pragma('foreign_keys = ON')
  return new SqliteDialect({ database })
}

function postgres(connectionString: string): PostgresDialect {
  pg.types.setTypeParser(pg.types.builtins.INT8, Number)
  return new PostgresDialect({ pool: new pg.Pool({ connectionString }) })
}

const url = databaseUrl()
const dialect = url.startsWith('sqlite:') ? sqlite(url.slice('sqlite:'.length)) : postgres(url)
const db = new Kysely<Tables>({ dialect })

const t = initTRPC.meta<OpenApiMeta>().create({ transformer: superjson })

const Message = z.object({
  id: z.string(),
  roomId: z.string(),
  seq: z.number(),
  messageData: z.string(),
  side: z.boolean(),
  author: z.string(),
  messageType: z.string(),
  clientMessageId: z.string().nullable(),
  isActive: z.boolean(),
  createdAt: z.date(),
  editedAt: z.date().nullable(),
  deletedAt: z.date().nullable(),
  version: z.number(),
})

const Room = z.object({
  id: z.string(),
  eventId: z.string(),
  userId: z.string(),
  orgId: z.string(),
  portfolioName: z.string(),
  roomRoomId: z.string(),
  productName: z.string(),
  messageData: z.string(),
  lastMessage: z
    .object({
      seq: z.number(),
      messageType: z.string(),
      messageData: z.string(),
      side: z.boolean(),
      author: z.string(),
      createdAt: z.date(),
    })
    .nullable(),
  isActive: z.boolean(),
  subject: z.string().nullable(),
  status: z.string(),
  assignee: z.string().nullable(),
  labels: z.array(z.string()),
  custom: z.record(z.string(), z.unknown()),
  createdAt: z.date(),
  updatedAt: z.date(),
  version: z.number(),
})

const paging = {
  before: z.string(),
  after: z.string(),
  hasBefore: z.boolean(),
  hasAfter: z.boolean(),
}

const roomId = z.string().length(24)
const name = z.string().min(1).max(200)

const appRouter = t.router({
  createMessage: t.procedure
    .meta({ openapi: { method: 'POST', path: '/rooms/{roomId}/messages' } })
    .input(
      z.object({
        roomId,
        messageData: z.string().min(1).max(16_000),
        side: z.boolean(),
        author: name,
        messageType: z.string().default('text'),
      }),
    )
    .output(z.object({ message: Message, replayed: z.boolean() }))
    .mutation(async ({ input }) => {
      const row = await db.transaction().execute(async (tx) => {
        const now = Date.now()
        const room = await tx
          .updateTable('rooms')
          .set((eb) => ({
            last_seq: eb('last_seq', '+', 1),
            version: eb('version', '+', 1),
            last_message: input.messageData,
            last_message_seq: eb('last_seq', '+', 1),
            last_message_type: input.messageType,
            last_message_side: input.side ? 1 : 0,
            last_message_author: input.author,
            last_message_at: now,
            updated_at: now,
          }))
          .where('id', '=', input.roomId)
          .where('is_active', '=', 1)
          .returningAll()
          .executeTakeFirst()
        if (!room) throw new TRPCError({ code: 'NOT_FOUND' })
        return tx
          .insertInto('messages')
          .values({
            org_id: room.org_id,
            room_id: room.id,
            seq: room.last_seq,
            id: newId(now),
            side: input.side ? 1 : 0,
            author: input.author,
            message_type: input.messageType,
            message_data: input.messageData,
            is_active: 1,
            created_at: now,
          })
          .returningAll()
          .executeTakeFirstOrThrow()
      })
      return { message: toMessage(row), replayed: false }
    }),

  getMessages: t.procedure
    .meta({ openapi: { method: 'GET', path: '/rooms/{roomId}/messages' } })
    .input(z.object({ roomId, before: z.string().optional() }))
    .output(z.object({ items: z.array(Message), ...paging }))
    .query(async ({ input }) => {
      const room = await db
        .selectFrom('rooms')
        .selectAll()
        .where('id', '=', input.roomId)
        .executeTakeFirst()
      if (!room) throw new TRPCError({ code: 'NOT_FOUND' })
      const to = input.before === undefined ? room.last_seq : parseCursor(input.before)
      const rows = await db
        .selectFrom('messages')
        .selectAll()
        .where('org_id', '=', room.org_id)
        .where('room_id', '=', room.id)
        .where('seq', '>', Math.max(0, to - PAGE_SIZE))
        .where('seq', '<=', to)
        .orderBy('seq', 'asc')
        .execute()
      return messagePage(rows, to, room.last_seq)
    }),

  listRooms: t.procedure
    .meta({ openapi: { method: 'GET', path: '/rooms' } })
    .input(z.object({ orgId: name }))
    .output(z.object({ items: z.array(Room.extend({ unread: z.number().nullable() })), ...paging }))
    .query(async ({ input }) => {
      const rows = await db
        .selectFrom('rooms')
        .selectAll()
        .where('org_id', '=', input.orgId)
        .orderBy('position', 'desc')
        .limit(PAGE_SIZE + 1)
        .execute()
      return roomPage(rows)
    }),

  createRoom: t.procedure
    .meta({ openapi: { method: 'POST', path: '/rooms' } })
    .input(z.object({ userId: name, orgId: name, portfolioName: name, productName: name }))
    .output(z.object({ room: Room, created: z.boolean() }))
    .mutation(({ input }) =>
      db.transaction().execute(async (tx) => {
        const found = await tx
          .selectFrom('rooms')
          .selectAll()
          .where('org_id', '=', input.orgId)
          .where('user_id', '=', input.userId)
          .where('portfolio_name', '=', input.portfolioName)
          .where('product_name', '=', input.productName)
          .where('is_active', '=', 1)
          .executeTakeFirst()
        if (found) return { room: toRoom(found), created: false }
        const now = Date.now()
        const { position } = await tx
          .insertInto('organisations')
          .values({ id: input.orgId, created_at: now, last_room_position: 1 })
          .onConflict((conflict) =>
            conflict.column('id').doUpdateSet((eb) => ({
              last_room_position: eb('organisations.last_room_position', '+', 1),
            })),
          )
          .returning('last_room_position as position')
          .executeTakeFirstOrThrow()
        const seconds = String(Math.floor(now / 1000)).padStart(17, '0')
        const random = randomBytes(4).readUInt32BE() % 1e7
        const room = await tx
          .insertInto('rooms')
          .values({
            id: newId(now),
            org_id: input.orgId,
            position,
            event_id: `FB101${seconds}#${String(random).padStart(7, '0')}`,
            user_id: input.userId,
            portfolio_name: input.portfolioName,
            product_name: input.productName,
            room_room_id: `13-${input.userId}`,
            is_active: 1,
            last_seq: 0,
            last_message: null,
            created_at: now,
            updated_at: now,
          })
          .returningAll()
          .executeTakeFirstOrThrow()
        return { room: toRoom(room), created: true }
      }),
    ),
})

const app = express()
app.use(express.json())
app.use('/trpc', createExpressMiddleware({ router: appRouter }))
app.use('/api/v3', createOpenApiExpressMiddleware({ router: appRouter }))

serve(createServer(app), () => void db.destroy())
