import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import type { ApiKeyRow, AuditEventRow, MessageRow, RoomRow } from '../src/index.ts'
import { columnsOf } from '../src/tables.ts'

/** A folder that is removed with its contents: `await using folder = …`. */
export async function createFolder(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'dowell-chat-test-'))
  return {
    path,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  }
}

/** A separate connection to a database file, as of another process. */
export function connect(file: string): Sqlite.Database & Disposable {
  const connection = new Sqlite(file, { timeout: 0 })
  return Object.assign(connection, { [Symbol.dispose]: () => void connection.close() })
}

export function insertInto(connection: Sqlite.Database, table: string, row: object): void {
  const columns = Object.keys(row)
  connection
    .prepare(`insert into ${table} (${columns}) values (${columns.map(() => '?')})`)
    .run(Object.values(row))
}

/** The schema and all rows of a database file, to compare before and after. */
export function contentsOf(connection: Sqlite.Database): Record<string, unknown> {
  const tables = connection
    .prepare<[], { name: string; sql: string }>(
      "select name, sql from sqlite_schema where type = 'table'",
    )
    .all()
  return {
    schema: connection.prepare('select type, name, sql from sqlite_schema order by name').all(),
    rows: tables.map(({ name }) => [name, connection.prepare(`select * from "${name}"`).all()]),
  }
}

/** A number as an id of 24 hex characters. */
export function idOf(number: number): string {
  return number.toString(16).padStart(24, '0')
}

/** 200 characters of four bytes, without a pattern that a database could compress. */
export function longName(seed: number): string {
  const codes = Array.from(
    { length: 200 },
    (_, n) => 0x20000 + ((seed * 977 + n * n * 7_919) % 0xa000),
  )
  return String.fromCodePoint(...codes)
}

/** Every column of a room that may be null is null. */
const emptyRoom = Object.fromEntries(columnsOf('rooms').map((column) => [column, null])) as {
  [Column in keyof RoomRow as null extends RoomRow[Column] ? Column : never]: null
}

export function roomRow(row: Partial<RoomRow> = {}): RoomRow {
  return {
    ...emptyRoom,
    id: idOf(1),
    org_id: 'DOWELL12345',
    position: 1,
    event_id: 'FB10100000001693018738#5535526',
    user_id: 'ABCD12345',
    portfolio_name: 'umair',
    product_name: 'WIFIQRCODE',
    room_room_id: '13-ABCD12345',
    is_active: 1,
    last_seq: 0,
    created_at: 1_693_018_738_000,
    updated_at: 1_693_018_738_000,
    version: 0,
    details_version: 1,
    support_count: 0,
    status: 'open',
    labels: '[]',
    custom: '{}',
    ...row,
  }
}

/** The columns of a room about its latest message: of `message`, or as in `room`. */
export function latestOf(
  message: MessageRow | undefined,
  room: RoomRow = roomRow(),
): Pick<RoomRow, `last_message${'' | `_${string}`}` & keyof RoomRow> {
  return {
    last_message: message?.message_data ?? room.last_message,
    last_message_seq: message?.seq ?? room.last_message_seq,
    last_message_type: message?.message_type ?? room.last_message_type,
    last_message_side: message?.side ?? room.last_message_side,
    last_message_author: message?.author ?? room.last_message_author,
    last_message_at: message?.created_at ?? room.last_message_at,
  }
}

export function apiKeyRow(row: Partial<ApiKeyRow> = {}): ApiKeyRow {
  return {
    id: idOf(1),
    org_id: 'DOWELL12345',
    position: 1,
    secret_hash: '0'.repeat(64),
    access: 'support',
    name: 'help desk',
    created_at: 1_693_018_738_000,
    last_used_at: null,
    revoked_at: null,
    ...row,
  }
}

export function auditEventRow(row: Partial<AuditEventRow> = {}): AuditEventRow {
  return {
    org_id: 'DOWELL12345',
    position: 1,
    id: idOf(1),
    action: 'room.deleted',
    actor: 'open',
    target: idOf(1),
    details: '{}',
    created_at: 1_693_018_738_000,
    ...row,
  }
}

export function messageRow(row: Partial<MessageRow> = {}): MessageRow {
  return {
    org_id: 'DOWELL12345',
    room_id: idOf(1),
    seq: 1,
    id: idOf(1),
    side: 0,
    author: 'client',
    message_type: 'text',
    message_data: 'message',
    client_message_id: null,
    is_active: 1,
    created_at: 1_693_018_738_000,
    support_count: 0,
    edited_at: null,
    deleted_at: null,
    text_version: 1,
    ...row,
  }
}

/** The outcome of each write: `done`, or the reason or message of its error. */
export function reasonsOf(results: readonly PromiseSettledResult<unknown>[]): unknown[] {
  return results.map((result) =>
    result.status === 'fulfilled' ? 'done' : (result.reason?.reason ?? result.reason?.message),
  )
}
