import { Buffer } from 'node:buffer'
import { createHash } from 'node:crypto'

/** A place in an organisation's event log, between what was read and what is to come. */
export interface EventCursor {
  readonly orgId: string
  readonly position: number
}

/** Names the log: positions are numbers that every organisation has, and one's cursor must not fit another's log. */
function tagOf(orgId: string): string {
  return createHash('sha256').update(orgId).digest('base64url').slice(0, 8)
}

const tags = new Map<string, string>()

export function encodeEventCursor({ orgId, position }: EventCursor): string {
  let tag = tags.get(orgId)
  if (tag === undefined) {
    if (tags.size >= 10_000) tags.clear()
    tag = tagOf(orgId)
    tags.set(orgId, tag)
  }
  return Buffer.from(`e:${position}:${tag}`).toString('base64url')
}

/** @returns the position, or undefined for what is no cursor of this organisation's log */
export function decodeEventCursor(orgId: string, cursor: string): number | undefined {
  const text = Buffer.from(cursor.slice(0, 100), 'base64url').toString()
  const digits = /^e:(0|[1-9][0-9]{0,14}):/.exec(text)?.[1]
  if (digits === undefined) return undefined
  const position = Number(digits)
  // Decoding forgives what encoding never writes, so a cursor must also be what we would have written.
  return encodeEventCursor({ orgId, position }) === cursor ? position : undefined
}
