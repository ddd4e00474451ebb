import { type Expression, sql } from 'kysely'
import { connectionOf, type Session } from '../engine/session.ts'
import type { Transaction } from '../engine/transaction.ts'
import { eachOf, type QueryBuilder, type ReadBuilder } from '../query/builder.ts'
import { announceRoomLock } from '../query/locks.ts'
import {
  type MessageOutline,
  outlineColumns,
  SHORT_TEXT_BYTES,
  shortText,
  withText,
} from '../query/messageText.ts'
import { notBefore } from '../query/notBefore.ts'
import {
  type Params,
  prepared,
  preparedWrite,
  preparedWriteInScope,
  rowParams,
  select,
} from '../query/prepared.ts'
import { PREVIEW_CHARACTERS, previewOf } from '../query/preview.ts'
import {
  type OneRoom,
  type RoomScopeParams,
  scopeParams,
  whereRoomInScope,
} from '../query/scope.ts'
import type { MessageRow } from '../tables.ts'
import { deleteFirstText } from './firstTexts.ts'

interface InRoom {
  readonly orgId: string
  readonly roomId: string
}

const insertMessageQuery = preparedWrite((db, row: Params<MessageRow>) =>
  db.insertInto('messages').values(rowParams('messages', row)),
)

export async function insertMessage(tx: Transaction, row: MessageRow): Promise<void> {
  await insertMessageQuery(tx, row)
}

/** A message before it has its position in a room. */
export type NewMessage = Pick<
  MessageRow,
  'id' | 'side' | 'author' | 'message_type' | 'message_data' | 'client_message_id' | 'created_at'
>

/** The columns that a room copies from its latest message. */
type Latest = Pick<MessageRow, 'side' | 'author' | 'message_type' | 'created_at'> & {
  readonly preview: string
}

/** Takes the next `seq` of an active room and stores its latest message. No row if the room is missing or deleted. */
function advanceRoom(
  db: Pick<QueryBuilder, 'updateTable'>,
  where: Params<RoomScopeParams & Latest>,
  orgId: Expression<string> | undefined,
) {
  return db
    .updateTable('rooms')
    .set((eb) => ({
      version: eb('version', '+', 1),
      last_seq: eb('last_seq', '+', 1),
      support_count: eb('support_count', '+', where.side),
      last_message: where.preview,
      last_message_seq: eb('last_seq', '+', 1),
      last_message_type: where.message_type,
      last_message_side: where.side,
      last_message_author: where.author,
      last_message_at: where.created_at,
      updated_at: notBefore('updated_at', where.created_at),
    }))
    .where((eb) => whereRoomInScope(eb, where, orgId))
    .where('is_active', '=', 1)
    .returning(['org_id', 'id as room_id', 'last_seq as seq', 'support_count'])
}

const advanceRoomQuery = preparedWriteInScope(advanceRoom)

/** Advances the room and inserts the message in one statement. PostgreSQL only. */
const appendMessageQuery = preparedWriteInScope(
  (db, row: Params<RoomScopeParams & NewMessage & Latest>, orgId) =>
    db
      .with('room', (cte) => advanceRoom(cte, row, orgId))
      .insertInto('messages')
      .columns([
        'org_id',
        'room_id',
        'seq',
        'support_count',
        'is_active',
        'id',
        'side',
        'author',
        'message_type',
        'message_data',
        'client_message_id',
        'created_at',
      ])
      .expression((eb) =>
        eb
          .selectFrom('room')
          .select([
            'org_id',
            'room_id',
            'seq',
            'support_count',
            sql.lit(1).as('is_active'),
            sql`${row.id}`.as('id'),
            sql`${row.side}`.as('side'),
            sql`${row.author}`.as('author'),
            sql`${row.message_type}`.as('message_type'),
            sql`${row.message_data}`.as('message_data'),
            sql`${row.client_message_id}`.as('client_message_id'),
            sql`${row.created_at}`.as('created_at'),
          ]),
      )
      .returning(['org_id', 'room_id', 'seq', 'support_count']),
)

/**
 * Stores a message as the next and latest of an active room.
 *
 * @returns undefined if the room is missing or deleted
 */
export async function appendMessage(
  tx: Transaction,
  where: OneRoom,
  message: NewMessage,
): Promise<MessageRow | undefined> {
  announceRoomLock(tx, where)
  // SQLite cannot do both in one statement; on PostgreSQL that saves a round trip.
  const isOneStatement = connectionOf(tx).dialect === 'postgres'
  const preview = previewOf(message.message_data)
  const [place] = await (isOneStatement ? appendMessageQuery : advanceRoomQuery)(tx, {
    ...scopeParams(where),
    ...message,
    preview,
  })
  if (!place) return undefined
  const row: MessageRow = {
    ...message,
    ...place,
    is_active: 1,
    edited_at: null,
    deleted_at: null,
    text_version: 1,
  }
  if (!isOneStatement) await insertMessage(tx, row)
  return row
}

interface BySender extends InRoom {
  readonly author: string
  readonly clientMessageId: string
}

const messageByClientIdQuery = prepared((db, where: Params<BySender & { side: 0 | 1 }>) =>
  db
    .selectFrom('messages')
    .selectAll()
    .where('room_id', '=', where.roomId)
    .where('side', '=', where.side)
    .where('author', '=', where.author)
    .where('client_message_id', '=', where.clientMessageId)
    .where('org_id', '=', where.orgId),
)

/** Finds a message by its sender's id of it. */
export async function findMessageByClientId(
  session: Session,
  where: BySender & { side: boolean },
): Promise<MessageRow | undefined> {
  const [message] = await messageByClientIdQuery(session, { ...where, side: where.side ? 1 : 0 })
  return message
}

export async function findMessage(
  session: Session,
  where: InRoom & { messageId: string },
): Promise<MessageRow | undefined> {
  const [message] = await select(session, (db) =>
    db
      .selectFrom('messages')
      .selectAll()
      .where('id', '=', where.messageId)
      .where('org_id', '=', where.orgId)
      .where('room_id', '=', where.roomId),
  )
  return message
}

interface Range extends InRoom {
  /** The last position before the range. */
  readonly from: number
  /** The last position in it. */
  readonly to: number
}

/** Without the casts SQLite plans the statement again for each value, which takes a third of its time. */
function selectRange(db: ReadBuilder, where: Params<Range>) {
  return db
    .selectFrom('messages')
    .where('org_id', '=', (eb) => eb.cast<string>(where.orgId, 'text'))
    .where('room_id', '=', (eb) => eb.cast<string>(where.roomId, 'text'))
    .where('seq', '>', where.from)
    .where('seq', '<=', where.to)
    .orderBy('seq', 'asc')
}

const outlinesQuery = prepared((db, where: Params<Range>) =>
  selectRange(db, where).select([...outlineColumns, shortText('message_data').as('message_data')]),
)

const longTextSizesQuery = prepared((db, where: Params<Range>) =>
  selectRange(db, where)
    .where(sql<boolean>`octet_length(message_data) > ${sql.lit(SHORT_TEXT_BYTES)}`)
    .select(['seq', sql<number>`octet_length(message_data)`.as('bytes')]),
)

/** Takes `seqs`, a JSON array, because another process may have shortened a text since the sizes were read. */
const textsQuery = prepared((db, where: Params<InRoom & { seqs: string }>) =>
  db
    .selectFrom('messages')
    .select(['seq', 'message_data'])
    .where('org_id', '=', where.orgId)
    .where('room_id', '=', where.roomId)
    .where('seq', 'in', (eb) =>
      eb
        .selectFrom(eachOf(db, where.seqs).as('given'))
        .select((given) => given.cast<number>('given.value', 'bigint').as('seq')),
    ),
)

/**
 * Chooses a part of a range by the sizes of its messages, before their long texts are read.
 *
 * @param sizes bytes (UTF-8) of the texts that are null in `rows`, by `seq`
 */
export type ChooseRange = (
  rows: readonly MessageOutline[],
  sizes: ReadonlyMap<number, number>,
) => Pick<Range, 'from' | 'to'>

/** Reads the messages after `from` up to and including `to`, or the part that `choose` returns. */
export async function messagesInRange(
  session: Session,
  where: Range,
  choose?: ChooseRange,
): Promise<MessageRow[]> {
  const rows = await outlinesQuery(session, where)
  if (rows.every((row): row is MessageRow => row.message_data !== null)) return rows
  const sizes = new Map<number, number>()
  if (choose)
    for (const { seq, bytes } of await longTextSizesQuery(session, where)) sizes.set(seq, bytes)
  const { from, to } = { ...where, ...choose?.(rows, sizes) }
  const chosen = rows.filter(({ seq }) => seq > from && seq <= to)
  const seqs = chosen.filter((row) => row.message_data === null).map(({ seq }) => seq)
  const { orgId, roomId } = where
  const texts = new Map<number, string>()
  for (const { seq, message_data } of await textsQuery(session, {
    orgId,
    roomId,
    seqs: JSON.stringify(seqs),
  })) {
    texts.set(seq, message_data)
  }
  return chosen.map((row) => withText(row, texts.get(row.seq)))
}

type OneMessage = InRoom & { readonly seq: number }

const editMessageQuery = preparedWrite(
  (db, where: Params<OneMessage & { messageData: string; now: number }>) =>
    db
      .updateTable('messages')
      .set((eb) => ({
        message_data: where.messageData,
        edited_at: notBefore('created_at', where.now),
        text_version: eb('text_version', '+', 1),
      }))
      .where('org_id', '=', where.orgId)
      .where('room_id', '=', where.roomId)
      .where('seq', '=', where.seq)
      .returningAll(),
)

const softDeleteMessageQuery = preparedWrite((db, where: Params<OneMessage & { now: number }>) =>
  db
    .updateTable('messages')
    .set((eb) => ({
      message_data: '',
      is_active: 0,
      deleted_at: notBefore('created_at', where.now),
      text_version: eb('text_version', '+', 1),
    }))
    .where('org_id', '=', where.orgId)
    .where('room_id', '=', where.roomId)
    .where('seq', '=', where.seq)
    .returningAll(),
)

/** The latest message that is not deleted. The room's own latest message bounds the search. */
const latestMessageQuery = prepared((db, where: Params<InRoom>) =>
  db
    .selectFrom('messages')
    .select([
      'seq',
      'side',
      'author',
      'message_type',
      'created_at',
      sql<string>`substr(message_data, 1, ${sql.lit(PREVIEW_CHARACTERS)})`.as('preview'),
    ])
    .where('org_id', '=', where.orgId)
    .where('room_id', '=', where.roomId)
    .where('is_active', '=', sql.lit(1))
    .where('seq', '<=', (eb) =>
      eb.selectFrom('rooms').select('last_message_seq').where('id', '=', where.roomId),
    )
    .orderBy('seq', 'desc')
    .limit(1),
)

const updateLatestMessageQuery = preparedWrite(
  (
    db,
    where: Params<InRoom & { now: number } & { [K in keyof NoLatest]: NoLatest[K] | Found[K] }>,
  ) =>
    db
      .updateTable('rooms')
      .set((eb) => ({
        version: eb('version', '+', 1),
        updated_at: notBefore('updated_at', where.now),
        last_message: where.preview,
        last_message_seq: where.seq,
        last_message_type: where.message_type,
        last_message_side: where.side,
        last_message_author: where.author,
        last_message_at: where.created_at,
      }))
      .where('id', '=', where.roomId)
      .where('org_id', '=', where.orgId),
)

type Found = Latest & { readonly seq: number }
type NoLatest = { readonly [K in keyof Found]: null }

const noLatest: NoLatest = {
  seq: null,
  side: null,
  author: null,
  message_type: null,
  created_at: null,
  preview: null,
}

/** Replaces a message's text, also in its room's preview. @returns the new row */
export async function editMessage(
  tx: Transaction,
  where: OneMessage & { messageData: string; now: number },
): Promise<MessageRow> {
  const [message] = await editMessageQuery(tx, where)
  return updateRoomOf(tx, where, message)
}

/**
 * Empties a message's text, and deletes the hash of its first one. The message keeps its position. The room's latest message
 * becomes the newest one left.
 *
 * @returns the new row
 */
export async function softDeleteMessage(
  tx: Transaction,
  where: OneMessage & { now: number },
): Promise<MessageRow> {
  const [message] = await softDeleteMessageQuery(tx, where)
  if (message?.client_message_id && message.edited_at !== null) await deleteFirstText(tx, where)
  return updateRoomOf(tx, where, message)
}

async function updateRoomOf(
  tx: Transaction,
  where: InRoom & { now: number },
  message: MessageRow | undefined,
): Promise<MessageRow> {
  if (!message) throw new Error('a change of a message that does not exist')
  const { orgId, roomId, now } = where
  const [found = noLatest] = await latestMessageQuery(tx, { orgId, roomId })
  await updateLatestMessageQuery(tx, { orgId, roomId, now, ...found })
  return message
}
