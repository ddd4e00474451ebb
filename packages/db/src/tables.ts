import type { Selectable } from 'kysely'

/**
 * The tables, in columns that SQLite and PostgreSQL share: times are integers (milliseconds since the Unix
 * epoch, UTC), booleans are the integers 0 and 1.
 */
export interface Tables {
  organisations: OrganisationsTable
  rooms: RoomsTable
  messages: MessagesTable
}

export interface OrganisationsTable {
  id: string
  created_at: number
  /** How many rooms the organisation ever opened: the last `rooms.position` given. */
  last_room_position: number
}

export interface RoomsTable {
  /** 24 lower-case hex characters, unique in the whole database. */
  id: string
  org_id: string
  /** 1, 2, 3 … in the order in which the organisation's rooms were opened. What lists are ordered and paged by. */
  position: number
  event_id: string
  user_id: string
  portfolio_name: string
  product_name: string
  room_room_id: string
  is_active: 0 | 1
  /** The last `messages.seq` given in this room; 0 while it has no message. */
  last_seq: number
  /** Text of the latest message; null while there is none. Kept here so that a list of rooms is one read. */
  last_message: string | null
  created_at: number
  updated_at: number
}

export interface MessagesTable {
  org_id: string
  room_id: string
  /** Position in the room: 1, 2, 3 … without gaps. */
  seq: number
  /** 24 lower-case hex characters, unique in the whole database. */
  id: string
  /** 0 the customer, 1 the support team. */
  side: 0 | 1
  author: string
  message_type: string
  message_data: string
  /** The sender's own id of this message, for exactly-once sends; unique per room, side and author. */
  client_message_id: string | null
  is_active: 0 | 1
  created_at: number
}

export type RoomRow = Selectable<RoomsTable>
export type MessageRow = Selectable<MessagesTable>
