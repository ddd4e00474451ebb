import type { Place } from './events.ts'

/** What a reader follows. */
export type Target =
  | {
      readonly kind: 'room'
      readonly orgId: string
      readonly roomId: string
      /** Whose presence the reader's is, for a caller with an API key or without any. */
      readonly side?: boolean | undefined
    }
  | { readonly kind: 'inbox'; readonly orgId: string; readonly productName?: string | undefined }
  | {
      readonly kind: 'user'
      readonly orgId: string
      readonly userId: string
      readonly productName?: string | undefined
    }

/** A reader's target, and how far they have come; without a place they begin with what happens now. */
export interface Wish {
  readonly target: Target
  readonly place: Place | undefined
  /** They have not been told yet whether the stream is live, nor who is there. */
  readonly isNew: boolean
}

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

/** Rooms that may share one stream; the server takes up to 50. */
const MAX_ROOMS = 50

/** Whether one stream can bring both. */
export function mayJoin(targets: readonly Target[], target: Target): boolean {
  const [first] = targets
  return (
    target.kind === 'room' &&
    first?.kind === 'room' &&
    first.orgId === target.orgId &&
    first.side === target.side &&
    targets.length < MAX_ROOMS
  )
}

/** Where the events of targets that share a stream are. */
export function pathOf(targets: readonly [Target, ...Target[]], after: string | undefined): string {
  const [first] = targets
  const query = new URLSearchParams({ orgId: first.orgId })
  if (first.kind === 'room') {
    const rooms = targets.flatMap((target) => (target.kind === 'room' ? [target.roomId] : []))
    query.set('roomIds', rooms.join(','))
    if (first.side !== undefined) query.set('side', String(first.side))
  } else if (first.productName !== undefined) query.set('productName', first.productName)
  if (after !== undefined) query.set('after', after)
  const user = first.kind === 'user' ? `/users/${encodeURIComponent(first.userId)}` : ''
  return `/api/v3${user}/events?${query}`
}
