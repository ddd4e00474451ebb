import { Buffer } from 'node:buffer'
import { createHash } from 'node:crypto'

/** A position in an organisation's event log: after the event at `position`, before the next one. */
export interface EventCursor {
  readonly orgId: string
  readonly position: number
  /** The history of the log that the position belongs to. */
  readonly epoch: string
}

/** Stands for the cursor of the newest event. */
export const NOW = 'now'

/** Identifies the log in a cursor, so that another organisation's cursor is rejected. */
function tagOf(orgId: string): string {
  return createHash('sha256').update(orgId).digest('base64url').slice(0, 8)
}

const tagCache = new Map<string, string>()
const MAX_CACHED_TAGS = 10_000

/** The epoch is readable: clients compare it, since positions of two epochs are not comparable. */
export function encodeEventCursor({ orgId, position, epoch }: EventCursor): string {
  return `${encodePosition(orgId, position)}.${epoch}`
}

function encodePosition(orgId: string, position: number): string {
  let tag = tagCache.get(orgId)
  if (tag === undefined) {
    if (tagCache.size >= MAX_CACHED_TAGS) tagCache.clear()
    tag = tagOf(orgId)
    tagCache.set(orgId, tag)
  }
  return Buffer.from(`e:${position}:${tag}`).toString('base64url')
}

/** The epoch is undefined in cursors that were issued before epochs existed. */
export interface DecodedCursor {
  readonly position: number
  readonly epoch: string | undefined
}

/** @returns undefined when the text is not a cursor into this organisation's log */
export function decodeEventCursor(orgId: string, cursor: string): DecodedCursor | undefined {
  const [, encoded = '', epoch] = /^([^.]*)(?:\.(.*))?$/.exec(cursor.slice(0, 200)) ?? []
  const text = Buffer.from(encoded, 'base64url').toString()
  const digits = /^e:(0|[1-9][0-9]{0,14}):/.exec(text)?.[1]
  if (digits === undefined) return undefined
  const position = Number(digits)
  // Base64 decoding accepts several spellings; only the one that we encode is valid.
  return encodePosition(orgId, position) === encoded ? { position, epoch } : undefined
}

/** Whether a cursor belongs to the current history of a log. */
export function isOfEpoch(
  { epoch }: DecodedCursor,
  log: { readonly epoch: string; readonly firstEpoch: string },
): boolean {
  return (epoch ?? log.firstEpoch) === log.epoch
}
