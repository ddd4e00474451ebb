import { type Expression, type Kysely, sql } from 'kysely'
import { dialectOf, eachOf } from '../dialectOf.ts'
import {
  type MessageOutline,
  outlineColumns,
  SHORT_TEXT_BYTES,
  shortText,
  withText,
} from '../messageText.ts'
import { prepared, preparedInScope, type Slots } from '../prepared.ts'
import { PREVIEW_CHARACTERS, previewOf } from '../preview.ts'
import { type InScope, inScope, type OneRoom, parametersOf } from '../roomScope.ts'
import type { MessageRow, Tables } from '../tables.ts'
import { announceRoomLock, type Tx } from '../transaction.ts'

interface InRoom {
  readonly orgId: string
  readonly roomId: string
}

const inserting = prepared((tx, row: Slots<MessageRow>) =>
  tx.insertInto('messages').values({
    org_id: row.org_id,
    room_id: row.room_id,
    seq: row.seq,
    id: row.id,
    side: row.side,
    author: row.author,
    message_type: row.message_type,
    message_data: row.message_data,
    client_message_id: row.client_message_id,
    is_active: row.is_active,
    created_at: row.created_at,
    support_count: row.support_count,
    edited_at: row.edited_at,
    deleted_at: row.deleted_at,
  }),
)

export async function insertMessage(tx: Tx, row: MessageRow): Promise<void> {
  await inserting(tx, row)
}

/** A message before it has its place in a room. */
export type NewMessage = Pick<
  MessageRow,
  'id' | 'side' | 'author' | 'message_type' | 'message_data' | 'client_message_id' | 'created_at'
>

/** What a room is told of its new message. */
type Latest = Pick<MessageRow, 'side' | 'author' | 'message_type' | 'created_at'> & {
  readonly preview: string
}

/** Takes the next `seq` of an active room and notes its latest message. Nothing, when there is none or it is deleted. */
function advancedRoom(
  tx: Pick<Tx, 'updateTable'>,
  where: Slots<InScope & Latest>,
  orgId: Expression<string> | undefined,
) {
  return tx
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
      updated_at: where.created_at,
    }))
    .where((eb) => inScope(eb, where, orgId))
    .where('is_active', '=', 1)
    .returning(['org_id', 'id as room_id', 'last_seq as seq', 'support_count'])
}

const advancing = preparedInScope(advancedRoom)

/** Advances the room and inserts the message. PostgreSQL only. */
const appending = preparedInScope((tx, row: Slots<InScope & NewMessage & Latest>, orgId) =>
  tx
    .with('room', (cte) => advancedRoom(cte, row, orgId))
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
 * Stores a message as the next of an active room, which notes it as its latest.
 *
 * @returns the message, or undefined when there is no such room or it is deleted
 */
export async function appendMessage(
  tx: Tx,
  where: OneRoom,
  message: NewMessage,
): Promise<MessageRow | undefined> {
  announceRoomLock(tx, where)
  // SQLite cannot do both in one statement; PostgreSQL does not need two ways there and back.
  const isOne = dialectOf(tx) === 'postgres'
  const preview = previewOf(message.message_data)
  const [place] = await (isOne ? appending : advancing)(tx, {
    ...parametersOf(where),
    ...message,
    preview,
  })
  if (!place) return undefined
  const row: MessageRow = { ...message, ...place, is_active: 1, edited_at: null, deleted_at: null }
  if (!isOne) await insertMessage(tx, row)
  return row
}

interface BySender extends InRoom {
  readonly author: string
  readonly clientMessageId: string
}

const sentBefore = prepared((db, where: Slots<BySender & { side: 0 | 1 }>) =>
  db
    .selectFrom('messages')
    .selectAll()
    .where('room_id', '=', where.roomId)
    .where('side', '=', where.side)
    .where('author', '=', where.author)
    .where('client_message_id', '=', where.clientMessageId)
    .where('org_id', '=', where.orgId),
)

/** The message that a sender stored under its own id before. */
export async function findMessageByClientId(
  db: Kysely<Tables>,
  where: BySender & { side: boolean },
): Promise<MessageRow | undefined> {
  const [message] = await sentBefore(db, { ...where, side: where.side ? 1 : 0 })
  return message
}

export async function findMessage(
  db: Kysely<Tables>,
  where: InRoom & { messageId: string },
): Promise<MessageRow | undefined> {
  return db
    .selectFrom('messages')
    .selectAll()
    .where('id', '=', where.messageId)
    .where('org_id', '=', where.orgId)
    .where('room_id', '=', where.roomId)
    .executeTakeFirst()
}

interface Range extends InRoom {
  /** The last position before the range. */
  readonly from: number
  /** The last position in it. */
  readonly to: number
}

/** The casts change no value. Without them SQLite plans the statement anew for each one, in a third of its time. */
function messagesIn(db: Kysely<Tables>, where: Slots<Range>) {
  return db
    .selectFrom('messages')
    .where('org_id', '=', (eb) => eb.cast<string>(where.orgId, 'text'))
    .where('room_id', '=', (eb) => eb.cast<string>(where.roomId, 'text'))
    .where('seq', '>', where.from)
    .where('seq', '<=', where.to)
    .orderBy('seq', 'asc')
}

const outlines = prepared((db, where: Slots<Range>) =>
  messagesIn(db, where).select([...outlineColumns, shortText('message_data').as('message_data')]),
)

const longTextSizes = prepared((db, where: Slots<Range>) =>
  messagesIn(db, where)
    .where(sql<boolean>`octet_length(message_data) > ${sql.lit(SHORT_TEXT_BYTES)}`)
    .select(['seq', sql<number>`octet_length(message_data)`.as('bytes')]),
)

/** @param seqs a JSON array. Named one by one, since another process may shorten a text meanwhile. */
const textsOf = prepared((db, where: Slots<InRoom & { seqs: string }>) =>
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
 * @param sizes bytes of UTF-8 of the texts that are null in `rows`, by `seq`
 */
export type ChooseRange = (
  rows: readonly MessageOutline[],
  sizes: ReadonlyMap<number, number>,
) => Pick<Range, 'from' | 'to'>

/** The messages after position `from`, up to and including `to`, in order: all, or the part that is chosen. */
export async function messagesInRange(
  db: Kysely<Tables>,
  where: Range,
  choose?: ChooseRange,
): Promise<MessageRow[]> {
  const rows = await outlines(db, where)
  if (rows.every((row): row is MessageRow => row.message_data !== null)) return rows
  const sizes = new Map<number, number>()
  if (choose) for (const { seq, bytes } of await longTextSizes(db, where)) sizes.set(seq, bytes)
  const { from, to } = { ...where, ...choose?.(rows, sizes) }
  const chosen = rows.filter(({ seq }) => seq > from && seq <= to)
  const seqs = chosen.filter((row) => row.message_data === null).map(({ seq }) => seq)
  const { orgId, roomId } = where
  const texts = new Map<number, string>()
  for (const { seq, message_data } of await textsOf(db, {
    orgId,
    roomId,
    seqs: JSON.stringify(seqs),
  })) {
    texts.set(seq, message_data)
  }
  return chosen.map((row) => withText(row, texts.get(row.seq)))
}

type OneMessage = InRoom & { readonly seq: number }

const editing = prepared((tx, where: Slots<OneMessage & { messageData: string; now: number }>) =>
  tx
    .updateTable('messages')
    .set({ message_data: where.messageData, edited_at: where.now })
    .where('org_id', '=', where.orgId)
    .where('room_id', '=', where.roomId)
    .where('seq', '=', where.seq)
    .returningAll(),
)

const deleting = prepared((tx, where: Slots<OneMessage & { now: number }>) =>
  tx
    .updateTable('messages')
    .set({ message_data: '', is_active: 0, deleted_at: where.now })
    .where('org_id', '=', where.orgId)
    .where('room_id', '=', where.roomId)
    .where('seq', '=', where.seq)
    .returningAll(),
)

/** The latest message that is not deleted. None lies after the one that the room names. */
const latest = prepared((tx, where: Slots<InRoom>) =>
  tx
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

const notingChange = prepared(
  (
    tx,
    where: Slots<InRoom & { now: number } & { [K in keyof NoLatest]: NoLatest[K] | Found[K] }>,
  ) =>
    tx
      .updateTable('rooms')
      .set((eb) => ({
        version: eb('version', '+', 1),
        updated_at: where.now,
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

/** Gives a message another text. Its room's latest message follows. @returns the message as it is now */
export async function editMessage(
  tx: Tx,
  where: OneMessage & { messageData: string; now: number },
): Promise<MessageRow> {
  const [message] = await editing(tx, where)
  return changed(tx, where, message)
}

/**
 * Takes a message's text away; the message keeps its place. The room's latest message is then the newest that is left.
 *
 * @returns the message as it is now
 */
export async function clearMessage(
  tx: Tx,
  where: OneMessage & { now: number },
): Promise<MessageRow> {
  const [message] = await deleting(tx, where)
  return changed(tx, where, message)
}

async function changed(
  tx: Tx,
  where: InRoom & { now: number },
  message: MessageRow | undefined,
): Promise<MessageRow> {
  if (!message) throw new Error('a change of a message that does not exist')
  const { orgId, roomId, now } = where
  const [found = noLatest] = await latest(tx, { orgId, roomId })
  await notingChange(tx, { orgId, roomId, now, ...found })
  return message
}
