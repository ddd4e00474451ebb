import type { Kysely } from 'kysely'
import type { NewEvent } from './queries/events.ts'
import { type OneRoom, parametersOf } from './roomScope.ts'
import type { Tables } from './tables.ts'

/** A write's view of the database. Everything done through it is committed together, or not at all. */
export type Tx = Kysely<Tables>

/** A row that writes wait for one another at: by name, or one that nobody knows. */
export type LockKey = string | symbol

/** What the write queue keeps of an open transaction. */
export interface OpenWrite {
  /** What its writes append to the event log. It is written at the end. */
  readonly events: NewEvent[]
  /** Called before a statement that locks a row, and throws if the lock is known to be held. Undefined on SQLite. */
  readonly beforeLock: ((key: string) => void) | undefined
}

const openWrites = new WeakMap<Tx, OpenWrite>()

/** Runs `job` while its transaction takes events and announced locks. An event that came later would be lost silently. */
export async function whileOpen(tx: Tx, write: OpenWrite, job: () => Promise<void>): Promise<void> {
  openWrites.set(tx, write)
  try {
    await job()
  } finally {
    openWrites.delete(tx)
  }
}

/**
 * Appends to the event log, in the transaction of what it tells. Positions are given when all writes that share the
 * transaction are done: the lock on an organisation's log, which puts its commits in order, is held no longer than that.
 */
export function appendEvent(tx: Tx, event: NewEvent): void {
  const write = openWrites.get(tx)
  if (!write) throw new Error('events are appended in a write')
  write.events.push(event)
}

/**
 * Names the room that the next statement locks. When that lock times out, the queue knows which writes wait for the same
 * one, and keeps them from the others.
 */
export function announceRoomLock(tx: Tx, where: OneRoom): void {
  const beforeLock = openWrites.get(tx)?.beforeLock
  if (!beforeLock) return
  const { roomId, orgId, userId, isListed } = parametersOf(where)
  // With the scope: the lock of a room must not show to a caller for whom the room does not exist.
  const org = typeof orgId === 'string' ? orgId : ''
  beforeLock(`room\0${roomId}\0${org}\0${userId ?? ''}\0${isListed}`)
}

/** The same for an organisation's row. */
export function announceOrganisationLock(tx: Tx, orgId: string): void {
  openWrites.get(tx)?.beforeLock?.(organisationKey(orgId))
}

export function organisationKey(orgId: string): string {
  return `organisation\0${orgId}`
}

export function isOrganisationKey(key: string): boolean {
  return key.startsWith('organisation\0')
}
