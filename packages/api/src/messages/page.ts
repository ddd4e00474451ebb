import {
  type Database,
  findMessage,
  type MessageOutline,
  type MessageRow,
  messagesInRange,
  type RoomRow,
} from '@dowell-chat/db'
import { BYTES_PER_CHARACTER, fittingRange, jsonBytes, PAGE_BYTES } from '../encoding/pageBytes.ts'
import { encodeCursor, type Page, type Place, pageOf } from '../encoding/paging.ts'
import { badField } from '../operation/errors.ts'
import { exampleMessage, Message, toMessage } from './schema.ts'

export const MessagePage = pageOf(Message).meta({ id: 'MessagePage', additionalProperties: true })

/** What a wire adds to the text and the author of a message. */
export interface ItemFrame {
  /** Tells pages of one wire from those of another, since they may end elsewhere. */
  readonly wire: string
  /** How often the author is repeated. */
  readonly authors: 1 | 2
  /** Bytes of JSON, at most. */
  readonly bytesAtMost: number
  /** The same exactly, or a little more. */
  bytes(): number
}

/** REST v3 and tRPC: all keys, the other values, and a `clientMessageId` of 64 characters. */
export const plainFrame: ItemFrame = {
  wire: 'plain',
  authors: 1,
  bytesAtMost: 400,
  bytes: () => 400,
}

/** Messages that are read at once: first few, since large ones fill a page. */
const FIRST_CHUNK = 50
const CHUNK = 200

/**
 * The page of a room at a place: up to `limit` messages, and up to {@link PAGE_BYTES} of JSON. `seq` has no gaps and no
 * message is ever removed, so a page is a range of positions: one indexed read, however long the room is, and `room` alone
 * says what lies on either side.
 */
export async function messagePage(
  db: Database['read'],
  room: RoomRow,
  limit: number,
  place: Place,
  frame: ItemFrame = plainFrame,
): Promise<Page<Message>> {
  const range = await rangeOf(db, room, limit, place)
  const { rows, from, to } = await readFitting(db, room, range, frame)
  return {
    items: rows.map(toMessage),
    before: encodeCursor('m', from),
    after: encodeCursor('m', to),
    hasBefore: Math.min(from, room.last_seq) > 0,
    hasAfter: to < room.last_seq,
  }
}

/** The messages after `from`, up to and including `to`. A page that is too large keeps those nearest to `boundary`. */
interface PageRange {
  readonly from: number
  readonly to: number
  readonly boundary: number
}

interface FittingPage {
  readonly rows: readonly MessageRow[]
  readonly from: number
  readonly to: number
  /** Bytes of JSON: at most, or exactly. */
  readonly bytes: number
  readonly isExact: boolean
}

async function readFitting(
  db: Database['read'],
  room: RoomRow,
  range: PageRange,
  frame: ItemFrame,
): Promise<FittingPage> {
  const isDown = range.boundary === range.to
  // A page around a place grows to both sides, and has a chunk at most.
  const isAround = !isDown && range.boundary !== range.from
  if (isAround || range.to - range.from <= FIRST_CHUNK) {
    return readChunk(db, room, range, frame, PAGE_BYTES)
  }
  // Any other page is read from the end where it begins, until it is full.
  let { boundary: from, boundary: to } = range
  let rows: readonly MessageRow[] = []
  let bytes = 0
  let isExact = true
  while (isDown ? from > range.from : to < range.to) {
    const size = rows.length === 0 ? FIRST_CHUNK : CHUNK
    const next = isDown
      ? { from: Math.max(range.from, from - size), to: from, boundary: from }
      : { from: to, to: Math.min(range.to, to + size), boundary: to }
    const left = PAGE_BYTES - bytes
    const chunk = await readChunk(db, room, next, frame, left)
    const isCut = chunk.from > next.from || chunk.to < next.to
    // One item always comes, also one that does not fit: but not after others.
    const isFull = chunk.bytes > left && rows.length > 0
    if ((isCut || isFull) && !isExact) {
      // Perhaps it fits, when the others are counted exactly.
      bytes = sum(exactSizes(rows, frame))
      isExact = true
      continue
    }
    if (isFull) break
    rows = isDown ? [...chunk.rows, ...rows] : [...rows, ...chunk.rows]
    bytes += chunk.bytes
    isExact &&= chunk.isExact
    if (isDown) from = chunk.from
    else to = chunk.to
    if (isCut) break
  }
  return { rows, from, to, bytes, isExact }
}

async function readChunk(
  db: Database['read'],
  room: RoomRow,
  { from, to, boundary }: PageRange,
  frame: ItemFrame,
  budget: number,
): Promise<FittingPage> {
  /** Which of the messages after position `first` fit, by their sizes. */
  const fitting = (first: number, sizes: readonly number[]) => {
    const index = Math.min(sizes.length, Math.max(0, boundary - first))
    return fittingRange(sizes, index, budget)
  }
  const where = { orgId: room.org_id, roomId: room.id, from, to }
  const rows = await messagesInRange(db, where, (outlines, sizes) => {
    const [start, end] = fitting(from, leastSizes(outlines, sizes, frame))
    return { from: from + start, to: from + end }
  })
  const atMost = sum(rows.map((row) => sizeAtMost(row, frame)))
  if (rows.length === to - from && atMost <= budget) {
    return { rows, from, to, bytes: atMost, isExact: false }
  }
  const first = (rows[0]?.seq ?? from + 1) - 1
  const sizes = exactSizes(rows, frame)
  const [start, end] = fitting(first, sizes)
  return {
    rows: rows.slice(start, end),
    from: first + start,
    to: first + end,
    bytes: sum(sizes.slice(start, end)),
    isExact: true,
  }
}

function sizeAtMost(row: MessageRow, { bytesAtMost, authors }: ItemFrame): number {
  return bytesAtMost + BYTES_PER_CHARACTER * (row.message_data.length + authors * row.author.length)
}

/** Before the long texts are read: a byte of UTF-8 is at least one of JSON. */
function leastSizes(
  rows: readonly MessageOutline[],
  sizes: ReadonlyMap<number, number>,
  frame: ItemFrame,
): number[] {
  const bytes = frame.bytes()
  return rows.map(({ seq, message_data }) => bytes + (message_data?.length ?? sizes.get(seq) ?? 0))
}

function exactSizes(rows: readonly MessageRow[], frame: ItemFrame): number[] {
  const bytes = frame.bytes()
  return rows.map(
    (row) => bytes + jsonBytes(row.message_data) + frame.authors * jsonBytes(row.author),
  )
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}

async function rangeOf(
  db: Database['read'],
  room: RoomRow,
  limit: number,
  place: Place,
): Promise<PageRange> {
  const last = room.last_seq
  switch (place.kind) {
    case 'newest':
      return { from: Math.max(0, last - limit), to: last, boundary: last }
    case 'before': {
      const to = Math.min(place.boundary, last)
      return { from: Math.max(0, to - limit), to, boundary: to }
    }
    case 'after': {
      const from = place.boundary
      return { from, to: Math.max(from, Math.min(from + limit, last)), boundary: from }
    }
    case 'around':
      return middle(place.boundary, limit, last)
    case 'aroundItem': {
      const where = { orgId: room.org_id, roomId: room.id, messageId: place.id }
      const message = await findMessage(db, where)
      if (!message) throw badField('around', 'is not the id of a message in this room')
      return middle(message.seq, limit, last)
    }
  }
}

/** Half of the page on each side of the boundary; what one side lacks the other gives. */
function middle(boundary: number, limit: number, last: number): PageRange {
  const from = Math.max(0, Math.min(boundary - Math.ceil(limit / 2), last - limit))
  return { from, to: Math.min(last, from + limit), boundary }
}

export const exampleMessagePage = {
  items: [exampleMessage],
  before: 'bTow',
  after: 'bTox',
  hasBefore: false,
  hasAfter: false,
}
