import type { Generated, Selectable } from 'kysely'

/**
 * The tables, in columns that SQLite and PostgreSQL share: times are integers (milliseconds since the Unix
 * epoch, UTC), booleans are the integers 0 and 1.
 */
export interface Tables {
  organisations: OrganisationsTable
  rooms: RoomsTable
  messages: MessagesTable
  api_keys: ApiKeysTable
  signing_keys: SigningKeysTable
  audit_events: AuditEventsTable
}

export interface OrganisationsTable {
  id: string
  created_at: number
  /** How many rooms the organisation ever opened: the last `rooms.position` given. */
  last_room_position: number
  /** The last `api_keys.position` given. */
  last_key_position: Generated<number>
  /** The last `audit_events.position` given. */
  last_audit_position: Generated<number>
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

export interface ApiKeysTable {
  /** 24 lower-case hex characters; part of the key, so that it can be looked up. */
  id: string
  org_id: string
  /** 1, 2, 3 … in the order in which the organisation's keys were made. */
  position: number
  /** SHA-256 of the key's random part, in hex. The key itself is kept nowhere. */
  secret_hash: string
  access: 'admin' | 'support' | 'read'
  /** What its maker calls it. */
  name: string
  created_at: number
  /** Recorded about once a minute, not at every use. */
  last_used_at: number | null
  revoked_at: number | null
}

/** What user tokens are signed with. The newest signs; the others still verify what they signed. */
export interface SigningKeysTable {
  id: string
  /** 32 random bytes in base64url. */
  secret: string
  created_at: number
}

/** Who did what. Append-only: the database refuses to change or delete a row. */
export interface AuditEventsTable {
  org_id: string
  /** 1, 2, 3 … without gaps within the organisation. */
  position: number
  id: string
  action: string
  actor: string
  /** The id of what was acted on. */
  target: string
  /** JSON. */
  details: string
  created_at: number
}

export type ApiKeyRow = Selectable<ApiKeysTable>
export type SigningKeyRow = Selectable<SigningKeysTable>
export type AuditEventRow = Selectable<AuditEventsTable>
export type RoomRow = Selectable<RoomsTable>
export type MessageRow = Selectable<MessagesTable>
