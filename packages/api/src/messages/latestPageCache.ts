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
 * messages raises the room's version, so a page of the current version is correct on every instance. A failover or a
 * restore may repeat a version; the time of the last change differs then.
 *
 * Callers must have just read the room within their scope. A cached page is shared by callers, so it is frozen.
 */
export class LatestPageCache {
  readonly #pages: LRUCache<string, Entry>

  /** @param maxBytes of all pages with their encodings */
  constructor(maxBytes: number) {
    this.#pages = new LRUCache({
      maxSize: maxBytes,
      maxEntrySize: Math.ceil(maxBytes / 16),
      sizeCalculation: ({ page }) => bytesAtMost(page),
    })
  }

  get(room: RoomRow, limit: number, format: string): Page<Message> | undefined {
    const entry = this.#pages.get(`${room.id}:${limit}:${format}`)
    const isCurrent = entry?.version === room.version && entry.updatedAt === room.updated_at
    return isCurrent ? entry.page : undefined
  }

  /**
   * @param room as read before the page, so that the page is never older than the room's version
   * @param format the wire format: pages of two formats may end at different messages
   */
  set(room: RoomRow, limit: number, format: string, page: Page<Message>): Page<Message> {
    Object.freeze(page.items)
    this.#pages.set(`${room.id}:${limit}:${format}`, {
      version: room.version,
      updatedAt: room.updated_at,
      page: Object.freeze(page),
    })
    return page
  }
}

/** An upper bound for the objects and three encodings, with up to three bytes per character in each. */
function bytesAtMost({ items }: Page<Message>): number {
  return items.reduce(
    (sum, { messageData, author }) => sum + 2_000 + 12 * (messageData.length + author.length),
    1_000,
  )
}
