import { type Database, findOrganisationSettings } from '@dowell-chat/db'
import { LRUCache } from 'lru-cache'
import { readSettings, type Settings } from './schema.ts'

const MAX_ORGANISATIONS = 10_000

/** A change on another instance takes effect after this time. */
const MAX_AGE_MS = 1_000

/** Caches organisations' settings, for calls that need no exact answer. */
export class SettingsCache {
  readonly #db: Database
  readonly #cached = new LRUCache<string, Promise<Settings>>({
    max: MAX_ORGANISATIONS,
    ttl: MAX_AGE_MS,
  })

  constructor(db: Database) {
    this.#db = db
  }

  get(orgId: string): Promise<Settings> {
    const cached = this.#cached.get(orgId)
    if (cached) return cached
    const settings = findOrganisationSettings(this.#db.read, { orgId }).then(readSettings)
    this.#cached.set(orgId, settings)
    settings.catch(() => {
      if (this.#cached.peek(orgId) === settings) this.#cached.delete(orgId)
    })
    return settings
  }

  /** Call it after a change of the settings. */
  forget(orgId: string): void {
    this.#cached.delete(orgId)
  }
}
