import { sql } from 'kysely'
import { columnsOf, type MessageRow } from '../tables.ts'

/** Maximum bytes of a text that is read with its row. A longer one is read only if the page has room for it. */
export const SHORT_TEXT_BYTES = 2_048

/** A message whose text is null if it is longer than {@link SHORT_TEXT_BYTES}. */
export type MessageOutline = Omit<MessageRow, 'message_data'> & {
  readonly message_data: string | null
}

/** The columns of an outline besides the text. Neither database reads a text to know its length. */
export const outlineColumns = columnsOf('messages').filter((column) => column !== 'message_data')

/** Selects a text, or null if it is long. @param column with its table where that is needed */
export function shortText(column: string) {
  const text = sql.ref<string>(column)
  return sql<
    string | null
  >`case when octet_length(${text}) <= ${sql.lit(SHORT_TEXT_BYTES)} then ${text} end`
}

/** Completes an outline with its long text. Messages are never removed, so the text exists. */
export function withText(row: MessageOutline, long: string | undefined): MessageRow {
  const message_data = row.message_data ?? long
  if (message_data === undefined) throw new Error('a message without its text')
  return { ...row, message_data }
}
