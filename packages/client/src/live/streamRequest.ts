import type { Place } from './events.ts'

/** A source of events on the server. */
export type Target =
  | {
      readonly kind: 'room'
      readonly orgId: string
      readonly roomId: string
      /** Side whose presence the reader counts as; only for a caller with an API key or without a credential. */
      readonly side?: boolean | undefined
    }
  | { readonly kind: 'inbox'; readonly orgId: string; readonly productName?: string | undefined }
  | {
      readonly kind: 'user'
      readonly orgId: string
      readonly userId: string
      readonly productName?: string | undefined
    }

/** A reader's target and place. */
export interface StreamRequest {
  readonly target: Target
  /** The reader has everything up to here; undefined: starts now. */
  readonly place: Place | undefined
  /** True until the reader has received the stream's state and presence. */
  readonly isNew: boolean
}

/** Returns a string that is equal for equal targets. */
export function keyOf(target: Target): string {
  const { kind, orgId } = target
  switch (kind) {
    case 'room':
      return JSON.stringify([kind, orgId, target.roomId, target.side])
    case 'inbox':
      return JSON.stringify([kind, orgId, target.productName])
    case 'user':
      return JSON.stringify([kind, orgId, target.userId, target.productName])
  }
}

/** Rooms per stream; the server accepts 50. */
const MAX_ROOMS = 50

/** True if a target can be added to the stream of other targets. */
export function canShareStream(targets: readonly Target[], target: Target): boolean {
  const [first] = targets
  return (
    target.kind === 'room' &&
    first?.kind === 'room' &&
    first.orgId === target.orgId &&
    first.side === target.side &&
    targets.length < MAX_ROOMS
  )
}

/**
 * Returns the path and query of the event stream for targets that share it. A user's id is in the query: URL parsers remove
 * a path segment that is `.` or `..`, which leaves the URL of another stream.
 *
 * @param streamId names the connection for heartbeats; only streams of rooms have presence
 */
export function pathOf(
  targets: readonly [Target, ...Target[]],
  after: string | undefined,
  streamId: string,
): string {
  const [first] = targets
  const query = new URLSearchParams({ orgId: first.orgId })
  if (first.kind === 'room') {
    const rooms = targets.flatMap((target) => (target.kind === 'room' ? [target.roomId] : []))
    query.set('roomIds', rooms.join(','))
    query.set('streamId', streamId)
    if (first.side !== undefined) query.set('side', String(first.side))
  } else if (first.productName !== undefined) query.set('productName', first.productName)
  if (first.kind === 'user') query.set('userId', first.userId)
  if (after !== undefined) query.set('after', after)
  return `/api/v3/events?${query}`
}
