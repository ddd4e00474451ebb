import { Buffer } from 'node:buffer'
import { createHash } from 'node:crypto'

/** A place in an organisation's event log, between what was read and what is to come. */
export interface EventCursor {
  readonly orgId: string
  readonly position: number
  /** Which history of the log the position is of. */
  readonly epoch: string
}

/** Names the log: positions are numbers that every organisation has, and one's cursor must not fit another's log. */
function tagOf(orgId: string): string {
  return createHash('sha256').update(orgId).digest('base64url').slice(0, 8)
}

const tags = new Map<string, string>()

/** The epoch stands at the end and in the open: readers may compare it, and positions of two epochs they may not. */
export function encodeEventCursor({ orgId, position, epoch }: EventCursor): string {
  return `${encodePosition(orgId, position)}.${epoch}`
}

function encodePosition(orgId: string, position: number): string {
  let tag = tags.get(orgId)
  if (tag === undefined) {
    if (tags.size >= 10_000) tags.clear()
    tag = tagOf(orgId)
    tags.set(orgId, tag)
  }
  return Buffer.from(`e:${position}:${tag}`).toString('base64url')
}

/** What stands in a cursor of an organisation's log. A cursor of before there were epochs has none. */
export interface DecodedCursor {
  readonly position: number
  readonly epoch: string | undefined
}

/** @returns undefined for what is no cursor of this organisation's log */
export function decodeEventCursor(orgId: string, cursor: string): DecodedCursor | undefined {
  const [, place = '', epoch] = /^([^.]*)(?:\.(.*))?$/.exec(cursor.slice(0, 200)) ?? []
  const text = Buffer.from(place, 'base64url').toString()
  const digits = /^e:(0|[1-9][0-9]{0,14}):/.exec(text)?.[1]
  if (digits === undefined) return undefined
  const position = Number(digits)
  // Decoding forgives what encoding never writes, so a cursor must also be what we would have written.
  return encodePosition(orgId, position) === place ? { position, epoch } : undefined
}

/** Whether a cursor is of the history that a log has now. */
export function isOfEpoch(
  { epoch }: DecodedCursor,
  log: { readonly epoch: string; readonly firstEpoch: string },
): boolean {
  return (epoch ?? log.firstEpoch) === log.epoch
}
