import { sql } from 'kysely'
import type { MessageRow } from './tables.ts'

/** Bytes of a text that is read together with its row. A longer one is read only when there is room for it. */
export const SHORT_TEXT_BYTES = 2_048

/** A message whose text is null where it is longer than {@link SHORT_TEXT_BYTES}. */
export type MessageOutline = Omit<MessageRow, 'message_data'> & {
  readonly message_data: string | null
}

/** The columns of a message, of which a long text is left out. Neither database reads a text to know its length. */
export const outlineColumns = [
  'org_id',
  'room_id',
  'seq',
  'id',
  'side',
  'author',
  'message_type',
  'client_message_id',
  'is_active',
  'created_at',
  'support_count',
  'edited_at',
  'deleted_at',
] as const satisfies (keyof MessageRow)[]

/** @param column the text's, as `table.column` where that is needed */
export function shortText(column: string) {
  const text = sql.ref<string>(column)
  return sql<
    string | null
  >`case when octet_length(${text}) <= ${sql.lit(SHORT_TEXT_BYTES)} then ${text} end`
}

/** An outline with its long text, which was read after it. Messages are never removed, so it is there. */
export function withText(row: MessageOutline, long: string | undefined): MessageRow {
  const message_data = row.message_data ?? long
  if (message_data === undefined) throw new Error('a message without its text')
  return { ...row, message_data }
}
