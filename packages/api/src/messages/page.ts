import {
  type Database,
  findMessage,
  type MessageOutline,
  type MessageRow,
  messagesInRange,
  type RoomRow,
} from '@dowell-chat/db'
import { BYTES_PER_CHARACTER, fittingRange, jsonBytes, PAGE_BYTES } from '../encoding/pageBytes.ts'
import { encodeCursor, type Page, type PageRef, pageOf } from '../encoding/paging.ts'
import { badField } from '../operation/errors.ts'
import { exampleMessage, Message, toMessage } from './schema.ts'

export const MessagePage = pageOf(Message).meta({ id: 'MessagePage', additionalProperties: true })

/** The overhead of a message in a wire format, besides its text and author. */
export interface ItemFrame {
  /** Names the wire format. Pages of two formats may end at different messages. */
  readonly format: string
  /** How often the author occurs in each message. */
  readonly authors: 1 | 2
  /** An upper bound for the overhead as JSON. */
  readonly bytesAtMost: number
  /** The exact overhead, or a little more. */
  bytes(): number
}

/** REST v3 and tRPC: 420 bytes for all keys and other values, with a `clientMessageId` of 64 characters. */
export const plainFrame: ItemFrame = {
  format: 'plain',
  authors: 1,
  bytesAtMost: 420,
  bytes: () => 420,
}

/** Messages per read. The first read is small, since a few large messages fill a page. */
const FIRST_CHUNK_SIZE = 50
const CHUNK_SIZE = 200

/**
 * Reads a page of a room: up to `limit` messages, and up to {@link PAGE_BYTES} of JSON. `seq` has no gaps and no row is
 * ever removed, so a page is a range of positions: an indexed read, and `room` tells what lies before and after it.
 *
 * @param epoch of its cursors
 */
export async function readPage(
  db: Database['read'],
  room: RoomRow,
  limit: number,
  ref: PageRef,
  epoch: string | undefined,
  frame: ItemFrame = plainFrame,
): Promise<Page<Message>> {
  const range = await resolveRange(db, room, limit, ref)
  const { rows, from, to } = await readRows(db, room, range, frame)
  return {
    items: rows.map(toMessage),
    before: encodeCursor('m', from, epoch),
    after: encodeCursor('m', to, epoch),
    hasBefore: Math.min(from, room.last_seq) > 0,
    hasAfter: to < room.last_seq,
  }
}

/** The messages after `from`, up to and including `to`. A range that is too large keeps those nearest to `boundary`. */
interface PageRange {
  readonly from: number
  readonly to: number
  readonly boundary: number
}

interface FittingPage {
  readonly rows: readonly MessageRow[]
  readonly from: number
  readonly to: number
  /** Size as JSON. */
  readonly bytes: number
  /** False: `bytes` is an upper bound. */
  readonly isExact: boolean
}

async function readRows(
  db: Database['read'],
  room: RoomRow,
  range: PageRange,
  frame: ItemFrame,
): Promise<FittingPage> {
  const isDown = range.boundary === range.to
  // A page around a boundary grows to both sides; its limit is at most one chunk.
  const isAround = !isDown && range.boundary !== range.from
  if (isAround || range.to - range.from <= FIRST_CHUNK_SIZE) {
    return readChunk(db, room, range, frame, PAGE_BYTES)
  }
  // Any other page is read in chunks from its boundary, until it is full.
  let { boundary: from, boundary: to } = range
  let rows: readonly MessageRow[] = []
  let bytes = 0
  let isExact = true
  while (isDown ? from > range.from : to < range.to) {
    const size = rows.length === 0 ? FIRST_CHUNK_SIZE : CHUNK_SIZE
    const next = isDown
      ? { from: Math.max(range.from, from - size), to: from, boundary: from }
      : { from: to, to: Math.min(range.to, to + size), boundary: to }
    const left = PAGE_BYTES - bytes
    const chunk = await readChunk(db, room, next, frame, left)
    const isCut = chunk.from > next.from || chunk.to < next.to
    // A message that exceeds the limit by itself is returned alone.
    const isFull = chunk.bytes > left && rows.length > 0
    if ((isCut || isFull) && !isExact) {
      // With exact sizes instead of upper bounds it may fit.
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
  /** Returns the indexes of the messages that fit; `first` is the position before them. */
  const findFitting = (first: number, sizes: readonly number[]) => {
    const index = Math.min(sizes.length, Math.max(0, boundary - first))
    return fittingRange(sizes, index, budget)
  }
  const where = { orgId: room.org_id, roomId: room.id, from, to }
  const rows = await messagesInRange(db, where, (outlines, sizes) => {
    const [start, end] = findFitting(from, minimumSizes(outlines, sizes, frame))
    return { from: from + start, to: from + end }
  })
  const atMost = sum(rows.map((row) => sizeAtMost(row, frame)))
  if (rows.length === to - from && atMost <= budget) {
    return { rows, from, to, bytes: atMost, isExact: false }
  }
  const first = (rows[0]?.seq ?? from + 1) - 1
  const sizes = exactSizes(rows, frame)
  const [start, end] = findFitting(first, sizes)
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

/** Lower bounds, before long texts are read: a byte of UTF-8 is at least one byte of JSON. */
function minimumSizes(
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

async function resolveRange(
  db: Database['read'],
  room: RoomRow,
  limit: number,
  ref: PageRef,
): Promise<PageRange> {
  const last = room.last_seq
  switch (ref.kind) {
    case 'newest':
      return { from: Math.max(0, last - limit), to: last, boundary: last }
    case 'before': {
      const to = Math.min(ref.boundary, last)
      return { from: Math.max(0, to - limit), to, boundary: to }
    }
    case 'after': {
      const from = ref.boundary
      return { from, to: Math.max(from, Math.min(from + limit, last)), boundary: from }
    }
    case 'around':
      return toRangeAround(ref.boundary, limit, last)
    case 'aroundItem': {
      const where = { orgId: room.org_id, roomId: room.id, messageId: ref.id }
      const message = await findMessage(db, where)
      if (!message) throw badField('around', 'is not the id of a message in this room')
      return toRangeAround(message.seq, limit, last)
    }
  }
}

/** Half of the page on each side of the boundary; a short side leaves its share to the other. */
function toRangeAround(boundary: number, limit: number, last: number): PageRange {
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
