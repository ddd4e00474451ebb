import { setImmediate as turn } from 'node:timers/promises'
import { type Database, deleteEvents, eventLogsAfter, oldestEvents } from '@dowell-chat/db'

/** Events that are deleted in one write, and organisations that are looked at in one read. */
const BATCH = 500
const PAGE = 100

/**
 * Forgets the events that happened before a time, in milliseconds since the Unix epoch, a few at a time so that nobody
 * else waits long. Rooms and messages stay.
 *
 * @returns how many were forgotten
 */
export async function pruneEvents(db: Database, before: number): Promise<number> {
  let count = 0
  let logs = await eventLogsAfter(db.read, { orgId: '', limit: PAGE })
  while (logs.length > 0) {
    for (const { orgId, oldest } of logs) {
      if (oldest !== null && oldest < before) count += await pruneOne(db, orgId, before)
    }
    // Reads alone never let go of the event loop.
    await turn()
    logs = await eventLogsAfter(db.read, { orgId: logs.at(-1)?.orgId ?? '', limit: PAGE })
  }
  return count
}

async function pruneOne(db: Database, orgId: string, before: number): Promise<number> {
  for (let count = 0; ; ) {
    const oldest = await oldestEvents(db.read, { orgId, limit: BATCH })
    // A clock that stepped back leaves a younger event before an older one: the log is forgotten from its beginning on.
    const kept = oldest.findIndex((event) => event.created_at >= before)
    const old = kept === -1 ? oldest : oldest.slice(0, kept)
    const last = old.at(-1)
    if (last) await db.write((tx) => deleteEvents(tx, { orgId, upTo: last.position }))
    count += old.length
    if (old.length < BATCH) return count
  }
}
