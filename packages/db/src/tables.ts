import type { Generated, Selectable } from 'kysely'

/**
 * The tables, in columns that SQLite and PostgreSQL share: times are integers (milliseconds since the Unix
 * epoch, UTC), booleans are the integers 0 and 1.
 */
export interface Tables {
  organisations: OrganisationsTable
  organisation_settings: OrganisationSettingsTable
  rooms: RoomsTable
  messages: MessagesTable
  api_keys: ApiKeysTable
  signing_keys: SigningKeysTable
  audit_events: AuditEventsTable
  room_labels: RoomLabelsTable
  read_markers: ReadMarkersTable
  events: EventsTable
  event_log: EventLogTable
}

/** The tables that hold rows of organisations and the server's keys: all but the one row about the logs themselves. */
export type DataTable = Exclude<keyof Tables, 'event_log'>

/** Each of them with its primary key, after the tables that it refers to. */
export const primaryKeys: { readonly [T in DataTable]: readonly (keyof Tables[T])[] } = {
  organisations: ['id'],
  organisation_settings: ['org_id'],
  api_keys: ['id'],
  signing_keys: ['id'],
  audit_events: ['org_id', 'position'],
  rooms: ['id'],
  room_labels: ['org_id', 'label', 'position'],
  messages: ['org_id', 'room_id', 'seq'],
  read_markers: ['org_id', 'room_id', 'side', 'user_id'],
  events: ['org_id', 'position'],
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
  /** The last `events.position` given: the head of the organisation's event log. */
  last_event_position: Generated<number>
}

/** An organisation that never set anything has no row. */
export interface OrganisationSettingsTable {
  org_id: string
  /** JSON: an object with the settings that were ever set. */
  settings: string
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
  /**
   * The first {@link PREVIEW_CHARACTERS} characters of the latest message that is not deleted; null while there is none.
   * Kept here, with what else a list shows of it, so that a list of rooms is one read.
   */
  last_message: string | null
  created_at: number
  updated_at: number
  /** Grows with every change of this row or of a message in the room: what is the same as before has the same version. */
  version: Generated<number>
  /** How many messages the support team ever wrote here; the customer wrote the rest of `last_seq`. */
  support_count: Generated<number>
  subject: string | null
  status: Generated<'open' | 'pending' | 'resolved'>
  /** The user id of whoever of the support team looks after the room. */
  assignee: string | null
  /** JSON: an array of text. `room_labels` has the same, to be searched. */
  labels: Generated<string>
  /** JSON: an object that is the organisation's own business. */
  custom: Generated<string>
  /** The latest message that is not deleted; null while there is none. */
  last_message_seq: Generated<number | null>
  last_message_type: Generated<string | null>
  last_message_side: Generated<0 | 1 | null>
  last_message_author: Generated<string | null>
  last_message_at: Generated<number | null>
}

/** A row for each label of each room. */
export interface RoomLabelsTable {
  org_id: string
  label: string
  /** The room's own. */
  position: number
  room_id: string
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
  /** How many of the room's messages up to this one, itself included, the support team wrote. */
  support_count: number
  /** When its text was last changed; null when it never was. */
  edited_at: number | null
  /** When it was deleted, and its text with it; null while it is not. */
  deleted_at: number | null
}

/** How far somebody has read in a room. */
export interface ReadMarkersTable {
  org_id: string
  room_id: string
  /** The reader's side. */
  side: 0 | 1
  user_id: string
  /** Up to and including this message; never goes back. */
  seq: number
  updated_at: number
}

/**
 * What happened, in the order of commits. A row says to what it happened; what that looks like is read from its room and
 * message, so the log holds no content of its own.
 */
export interface EventsTable {
  org_id: string
  /** 1, 2, 3 … in the organisation. Whoever has read up to one has met everything before it. */
  position: number
  room_id: string
  type: EventType
  /** The message that this is about. */
  message_seq: number | null
  /** Where a read marker was moved to, by whom. */
  marker_seq: number | null
  user_id: string | null
  side: 0 | 1 | null
  created_at: number
}

/** One row: which history the logs of all organisations are of. See `currentEpoch`. */
export interface EventLogTable {
  id: 1
  epoch: string
  /** What `epoch` was when there were none before. */
  first_epoch: string
  /** PostgreSQL's timeline that `epoch` belongs to: on another one there is another epoch. Null on SQLite. */
  timeline: string | null
}

export type EventType =
  | 'room.created'
  | 'room.updated'
  | 'room.deleted'
  | 'room.restored'
  | 'message.created'
  | 'message.updated'
  | 'message.deleted'
  | 'marker.moved'

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
export type ReadMarkerRow = Selectable<ReadMarkersTable>
export type EventRow = Selectable<EventsTable>
