import type { Generated, Selectable, SelectType } from 'kysely'

/** The tables, the same on SQLite and PostgreSQL. Times are milliseconds since the Unix epoch; booleans are 0 and 1. */
export interface Tables {
  organisations: OrganisationsTable
  organisation_settings: OrganisationSettingsTable
  rooms: RoomsTable
  messages: MessagesTable
  api_keys: ApiKeysTable
  signing_keys: SigningKeysTable
  user_token_revocations: UserTokenRevocationsTable
  audit_events: AuditEventsTable
  room_labels: RoomLabelsTable
  read_markers: ReadMarkersTable
  events: EventsTable
  event_log: EventLogTable
  first_text_keys: FirstTextKeysTable
  first_texts: FirstTextsTable
}

/** The tables whose rows belong to organisations or to the server: all but the one about the logs. */
export type DataTable = Exclude<keyof Tables, 'event_log'>

/** The primary key of each. A table comes after those that it refers to. */
export const primaryKeys: { readonly [T in DataTable]: readonly (keyof Tables[T])[] } = {
  organisations: ['id'],
  organisation_settings: ['org_id'],
  api_keys: ['id'],
  signing_keys: ['id'],
  user_token_revocations: ['org_id', 'user_id'],
  audit_events: ['org_id', 'position'],
  rooms: ['id'],
  room_labels: ['org_id', 'label', 'position'],
  messages: ['org_id', 'room_id', 'seq'],
  read_markers: ['org_id', 'room_id', 'side', 'user_id'],
  events: ['org_id', 'position'],
  first_text_keys: ['org_id'],
  first_texts: ['org_id', 'room_id', 'seq'],
}

type ColumnType<Value> = [Exclude<Value, null>] extends [number] ? 'integer' : 'text'

export type ColumnTypes<Table> = {
  readonly [Column in keyof Table]: ColumnType<SelectType<Table[Column]>>
}

/**
 * Every column of every table with its type in the database. Statements that name all columns of a table take them from
 * here. A column that is missing here or in the table's interface does not compile.
 */
const columnTypes: { readonly [T in keyof Tables]: ColumnTypes<Tables[T]> } = {
  organisations: {
    id: 'text',
    created_at: 'integer',
    last_room_position: 'integer',
    last_key_position: 'integer',
    last_audit_position: 'integer',
    last_event_position: 'integer',
  },
  organisation_settings: {
    org_id: 'text',
    settings: 'text',
    version: 'integer',
  },
  rooms: {
    id: 'text',
    org_id: 'text',
    position: 'integer',
    event_id: 'text',
    user_id: 'text',
    portfolio_name: 'text',
    product_name: 'text',
    room_room_id: 'text',
    is_active: 'integer',
    last_seq: 'integer',
    last_message: 'text',
    created_at: 'integer',
    updated_at: 'integer',
    version: 'integer',
    support_count: 'integer',
    subject: 'text',
    status: 'text',
    assignee: 'text',
    labels: 'text',
    custom: 'text',
    last_message_seq: 'integer',
    last_message_type: 'text',
    last_message_side: 'integer',
    last_message_author: 'text',
    last_message_at: 'integer',
    details_version: 'integer',
  },
  messages: {
    org_id: 'text',
    room_id: 'text',
    seq: 'integer',
    id: 'text',
    side: 'integer',
    author: 'text',
    message_type: 'text',
    message_data: 'text',
    client_message_id: 'text',
    is_active: 'integer',
    created_at: 'integer',
    support_count: 'integer',
    edited_at: 'integer',
    deleted_at: 'integer',
    text_version: 'integer',
  },
  api_keys: {
    id: 'text',
    org_id: 'text',
    position: 'integer',
    secret_hash: 'text',
    access: 'text',
    name: 'text',
    created_at: 'integer',
    last_used_at: 'integer',
    revoked_at: 'integer',
  },
  signing_keys: {
    id: 'text',
    secret: 'text',
    created_at: 'integer',
  },
  user_token_revocations: {
    org_id: 'text',
    user_id: 'text',
    revoked_at: 'integer',
  },
  audit_events: {
    org_id: 'text',
    position: 'integer',
    id: 'text',
    action: 'text',
    actor: 'text',
    target: 'text',
    details: 'text',
    created_at: 'integer',
  },
  room_labels: {
    org_id: 'text',
    label: 'text',
    position: 'integer',
    room_id: 'text',
  },
  read_markers: {
    org_id: 'text',
    room_id: 'text',
    side: 'integer',
    user_id: 'text',
    seq: 'integer',
    updated_at: 'integer',
  },
  events: {
    org_id: 'text',
    position: 'integer',
    room_id: 'text',
    type: 'text',
    message_seq: 'integer',
    marker_seq: 'integer',
    user_id: 'text',
    side: 'integer',
    created_at: 'integer',
  },
  event_log: {
    id: 'integer',
    epoch: 'text',
    first_epoch: 'text',
    timeline: 'text',
    retention_time: 'integer',
    retention_seen_at: 'integer',
  },
  first_text_keys: {
    org_id: 'text',
    secret: 'text',
  },
  first_texts: {
    org_id: 'text',
    room_id: 'text',
    seq: 'integer',
    hash: 'text',
  },
}

export const tableNames = Object.keys(columnTypes) as (keyof Tables)[]

/** The names of all columns of a table. */
export function columnsOf<T extends keyof Tables>(table: T): (keyof Tables[T] & string)[] {
  return Object.keys(columnTypes[table]) as (keyof Tables[T] & string)[]
}

export function columnTypeOf<T extends keyof Tables>(
  table: T,
  column: keyof Tables[T],
): 'integer' | 'text' {
  return columnTypes[table][column]
}

export interface OrganisationsTable {
  id: string
  created_at: number
  /** The last `rooms.position` given. */
  last_room_position: number
  /** The last `api_keys.position` given. */
  last_key_position: Generated<number>
  /** The last `audit_events.position` given. */
  last_audit_position: Generated<number>
  /** The last `events.position` given: the head of the organisation's event log. */
  last_event_position: Generated<number>
}

/** An organisation without settings has no row. */
export interface OrganisationSettingsTable {
  org_id: string
  /** A JSON object of the settings that were set. */
  settings: string
  /** Grows with every change. */
  version: number
}

export interface RoomsTable {
  /** 24 lower-case hex characters, unique in the whole database. */
  id: string
  org_id: string
  /** 1, 2, 3 … in the order in which the organisation's rooms were opened. Lists are ordered and paged by it. */
  position: number
  event_id: string
  user_id: string
  portfolio_name: string
  product_name: string
  room_room_id: string
  is_active: 0 | 1
  /** The last `messages.seq` of this room; 0 without messages. */
  last_seq: number
  /**
   * The first {@link PREVIEW_CHARACTERS} characters of the latest message that is not deleted; null without one. Stored here
   * with the other `last_message_` columns, so that a list of rooms is one read.
   */
  last_message: string | null
  created_at: number
  updated_at: number
  /** Grows with every change of this row or of a message in the room. */
  version: Generated<number>
  /** Messages of the support team, deleted ones included; the customer wrote the rest of `last_seq`. */
  support_count: Generated<number>
  subject: string | null
  status: Generated<'open' | 'pending' | 'resolved'>
  /** The user id of the responsible member of the support team. */
  assignee: string | null
  /** A JSON array of texts. `room_labels` has the same for searching. */
  labels: Generated<string>
  /** A JSON object that only the organisation interprets. */
  custom: Generated<string>
  /** The latest message that is not deleted; null without one. */
  last_message_seq: Generated<number | null>
  last_message_type: Generated<string | null>
  last_message_side: Generated<0 | 1 | null>
  last_message_author: Generated<string | null>
  last_message_at: Generated<number | null>
  /** Grows with every change of `is_active`, or of a column that the organisation sets. A message does not change it. */
  details_version: Generated<number>
}

/** One row per label of a room. */
export interface RoomLabelsTable {
  org_id: string
  label: string
  /** The position of the room. */
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
  /** The sender's id of this message, for exactly-once sends; unique per room, side and author. */
  client_message_id: string | null
  is_active: 0 | 1
  created_at: number
  /** Messages of the support team up to and including this one. */
  support_count: number
  /** The time of the last edit; null without one. */
  edited_at: number | null
  /** The time of deletion, which empties the text; null before. */
  deleted_at: number | null
  /** Grows with every change of the text, deletion included. */
  text_version: number
}

/** How far a reader has read in a room. */
export interface ReadMarkersTable {
  org_id: string
  room_id: string
  /** The reader's side. */
  side: 0 | 1
  user_id: string
  /** The last message read; never decreases. */
  seq: number
  updated_at: number
}

/** The event log, in the order of commits. It holds no content: that is read from the room and the message. */
export interface EventsTable {
  org_id: string
  /** 1, 2, 3 … in the organisation. A reader at one position has seen every event before it. */
  position: number
  room_id: string
  type: EventType
  /** The message that the event is about. */
  message_seq: number | null
  /** The new position of a read marker. */
  marker_seq: number | null
  user_id: string | null
  side: 0 | 1 | null
  created_at: number
}

/** One row: the epoch of all organisations' logs, see `currentEpoch`, and the clock of their retention. */
export interface EventLogTable {
  id: 1
  epoch: string
  /** The first value of `epoch`. */
  first_epoch: string
  /** The PostgreSQL timeline of `epoch`: another timeline has another epoch. Null on SQLite. */
  timeline: string | null
  /** The time that the retention goes by, which never leaps; null before its first run. */
  retention_time: number | null
  /** The clock at the retention's last run. */
  retention_seen_at: number | null
}

/** The keys of the hashes in `first_texts`, one per organisation. */
export interface FirstTextKeysTable {
  org_id: string
  /** 32 random bytes in base64url. */
  secret: string
}

/** The first text of an edited message, as a keyed hash: a repeated send is compared with it. */
export interface FirstTextsTable {
  org_id: string
  room_id: string
  /** The message's. */
  seq: number
  /** HMAC-SHA-256 in base64url. */
  hash: string
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
  /** 24 lower-case hex characters. Part of the key, for the lookup. */
  id: string
  org_id: string
  /** 1, 2, 3 … in the order in which the organisation's keys were created. */
  position: number
  /** SHA-256 of the key's random part, in hex. The key itself is not persisted. */
  secret_hash: string
  access: 'admin' | 'support' | 'read'
  /** Given by its creator. */
  name: string
  created_at: number
  /** Recorded about once a minute. */
  last_used_at: number | null
  revoked_at: number | null
}

/** Keys of user tokens. The newest signs; the others still verify. */
export interface SigningKeysTable {
  id: string
  /** 32 random bytes in base64url. */
  secret: string
  created_at: number
}

/** One row for a user whose tokens were revoked within the longest life of a token. */
export interface UserTokenRevocationsTable {
  org_id: string
  user_id: string
  /** Tokens that were issued up to the second of this time are refused. */
  revoked_at: number
}

/** The audit log. Append-only: the database refuses to change or delete a row. */
export interface AuditEventsTable {
  org_id: string
  /** 1, 2, 3 … without gaps within the organisation. */
  position: number
  id: string
  action: string
  actor: string
  /** The id of the changed object. */
  target: string
  /** JSON. */
  details: string
  created_at: number
}

export type ApiKeyRow = Selectable<ApiKeysTable>
export type SigningKeyRow = Selectable<SigningKeysTable>
export type UserTokenRevocationRow = Selectable<UserTokenRevocationsTable>
export type AuditEventRow = Selectable<AuditEventsTable>
export type RoomRow = Selectable<RoomsTable>
export type MessageRow = Selectable<MessagesTable>
export type ReadMarkerRow = Selectable<ReadMarkersTable>
export type EventRow = Selectable<EventsTable>

/** An event before it has its position. */
export type NewEvent = Pick<EventRow, 'org_id' | 'room_id' | 'type' | 'created_at'> &
  Partial<Pick<EventRow, 'message_seq' | 'marker_seq' | 'user_id' | 'side'>>
