import type { RoomRow } from '@dowell-chat/db'
import { LRUCache } from 'lru-cache'
import type { Page } from '../encoding/paging.ts'
import type { Message } from './schema.ts'

interface Entry {
  readonly version: number
  readonly updatedAt: number
  readonly page: Page<Message>
}

/**
 * Caches the latest page of each room, which is read far more often than it changes. Every change of a room or its
 * messages raises the room's version, so a page of the current version is what the database would return, also with
 * several instances. A failover or a restore may give out versions again: the time of the last change tells those apart.
 * Callers have just read the room within their scope.
 *
 * A cached page is frozen, since many callers share it.
 */
export class LatestPageCache {
  readonly #pages: LRUCache<string, Entry>

  /** @param maxBytes of all pages, with their encodings */
  constructor(maxBytes: number) {
    this.#pages = new LRUCache({
      maxSize: maxBytes,
      maxEntrySize: Math.ceil(maxBytes / 16),
      sizeCalculation: ({ page }) => sizeOf(page),
    })
  }

  get(room: RoomRow, limit: number, wire: string): Page<Message> | undefined {
    const entry = this.#pages.get(`${room.id}:${limit}:${wire}`)
    const isCurrent = entry?.version === room.version && entry.updatedAt === room.updated_at
    return isCurrent ? entry.page : undefined
  }

  /**
   * @param room as read before the page, so that the page is never older than the room's version
   * @param wire pages of two wires may end at different messages
   */
  set(room: RoomRow, limit: number, wire: string, page: Page<Message>): Page<Message> {
    Object.freeze(page.items)
    this.#pages.set(`${room.id}:${limit}:${wire}`, {
      version: room.version,
      updatedAt: room.updated_at,
      page: Object.freeze(page),
    })
    return page
  }
}

/** Bytes, at most, of the objects and of three encodings: a character takes up to three bytes in each. */
function sizeOf({ items }: Page<Message>): number {
  return items.reduce(
    (sum, { messageData, author }) => sum + 2_000 + 12 * (messageData.length + author.length),
    1_000,
  )
}
