import { setImmediate as nextTurn } from 'node:timers/promises'
import { type Database, deleteEvents, eventLogsAfter, oldestEvents } from '@dowell-chat/db'

/** Events per write. */
const BATCH_SIZE = 500
/** Organisations per read. */
const PAGE_SIZE = 100

/**
 * Deletes old events, in small batches so that other writes do not wait long. Rooms and messages stay.
 *
 * @param before milliseconds since the Unix epoch
 * @returns the number of deleted events
 */
export async function pruneEvents(db: Database, before: number): Promise<number> {
  let count = 0
  let logs = await eventLogsAfter(db.read, { orgId: '', limit: PAGE_SIZE })
  while (logs.length > 0) {
    for (const { orgId, oldest } of logs) {
      if (oldest !== null && oldest < before) count += await pruneLog(db, orgId, before)
    }
    // SQLite reads never yield to the event loop by themselves.
    await nextTurn()
    logs = await eventLogsAfter(db.read, { orgId: logs.at(-1)?.orgId ?? '', limit: PAGE_SIZE })
  }
  return count
}

async function pruneLog(db: Database, orgId: string, before: number): Promise<number> {
  for (let count = 0; ; ) {
    const oldest = await oldestEvents(db.read, { orgId, limit: BATCH_SIZE })
    // After a clock stepped back, times are not sorted. Delete only a prefix, so that the log has no gap.
    const firstKept = oldest.findIndex((event) => event.created_at >= before)
    const expired = firstKept === -1 ? oldest : oldest.slice(0, firstKept)
    const last = expired.at(-1)
    if (last) await db.write((tx) => deleteEvents(tx, { orgId, upTo: last.position }))
    count += expired.length
    if (expired.length < BATCH_SIZE) return count
  }
}
