import type { RoomRow } from '@dowell-chat/db'
import { LRUCache } from 'lru-cache'
import type { Page } from '../encoding/paging.ts'
import type { Message } from './schema.ts'

interface Kept {
  readonly version: number
  readonly updatedAt: number
  readonly page: Page<Message>
}

/**
 * The newest pages of rooms, which are read far more often than they change. A room's version grows with every change of
 * the room or its messages, so a page kept at the version that the room has now is what the database would answer, however
 * many servers write to it. A failover or a restore takes versions back, and then gives them again: the time of the last
 * change tells those apart. Whoever asks has just read the room, as far as it exists for them.
 *
 * A kept page is frozen: many callers get the same object, and what is made of it may be kept as long as it is.
 */
export class NewestPages {
  readonly #pages: LRUCache<string, Kept>

  /** @param maxBytes what all pages may take, with what the surfaces make of them */
  constructor(maxBytes: number) {
    this.#pages = new LRUCache({
      maxSize: maxBytes,
      maxEntrySize: Math.ceil(maxBytes / 16),
      sizeCalculation: ({ page }) => sizeOf(page),
    })
  }

  find(room: RoomRow, limit: number, wire: string): Page<Message> | undefined {
    const kept = this.#pages.get(`${room.id}:${limit}:${wire}`)
    const isAsKept = kept?.version === room.version && kept.updatedAt === room.updated_at
    return isAsKept ? kept.page : undefined
  }

  /**
   * @param room as it was read before the page: then the page is never older than the room's version
   * @param wire for which it was read: pages of two wires may end elsewhere
   */
  keep(room: RoomRow, limit: number, wire: string, page: Page<Message>): Page<Message> {
    Object.freeze(page.items)
    this.#pages.set(`${room.id}:${limit}:${wire}`, {
      version: room.version,
      updatedAt: room.updated_at,
      page: Object.freeze(page),
    })
    return page
  }
}

/** Bytes, at most, of the objects and of three texts made of them: a character takes up to three in each. */
function sizeOf({ items }: Page<Message>): number {
  return items.reduce(
    (sum, { messageData, author }) => sum + 2_000 + 12 * (messageData.length + author.length),
    1_000,
  )
}
