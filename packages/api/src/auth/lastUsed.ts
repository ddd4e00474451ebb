import { type ApiKeyRow, type Database, recordApiKeyUse } from '@dowell-chat/db'

/** Collects the last use of each API key in memory, so that a read does not cost a write. */
export interface LastUsedTracker {
  note(key: Pick<ApiKeyRow, 'id' | 'org_id'>): void
  /** Writes the uses since the last flush. After a failure they are written by the next one. */
  flush(): Promise<void>
}

export function createLastUsedTracker(db: Database, clock: () => number): LastUsedTracker {
  let pending = new Map<string, { orgId: string; keyId: string; now: number }>()
  return {
    note(key) {
      pending.set(key.id, { orgId: key.org_id, keyId: key.id, now: clock() })
    },
    async flush() {
      if (pending.size === 0) return
      const batch = pending
      pending = new Map()
      try {
        await db.write(async (tx) => {
          for (const use of batch.values()) await recordApiKeyUse(tx, use)
        })
      } catch (error) {
        // Newer uses win.
        pending = new Map([...batch, ...pending])
        throw error
      }
    },
  }
}
