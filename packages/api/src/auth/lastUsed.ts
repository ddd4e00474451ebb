import { type ApiKeyRow, type Database, recordApiKeyUse } from '@dowell-chat/db'

/** Notes when keys are used, and writes it down now and then: a read must not cost a write. */
export interface LastUsedTracker {
  note(key: Pick<ApiKeyRow, 'id' | 'org_id'>): void
  /** Writes down what was noted since the last time. */
  flush(): Promise<void>
}

export function createLastUsedTracker(db: Database, clock: () => number): LastUsedTracker {
  let noted = new Map<string, { orgId: string; keyId: string; now: number }>()
  return {
    note(key) {
      noted.set(key.id, { orgId: key.org_id, keyId: key.id, now: clock() })
    },
    async flush() {
      if (noted.size === 0) return
      const batch = noted
      noted = new Map()
      try {
        await db.write(async (tx) => {
          for (const use of batch.values()) await recordApiKeyUse(tx, use)
        })
      } catch (error) {
        // For the next time, unless they were used again meanwhile.
        noted = new Map([...batch, ...noted])
        throw error
      }
    },
  }
}
