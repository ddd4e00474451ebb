import type { OperationNode, RootOperationNode } from 'kysely'
import { columnsOf, columnTypeOf, type Tables, tableNames } from '../tables.ts'

/** A room's copies of its latest message, whose text stays in the message. */
const COPY = /^last_message/

const textColumns = new Set(tableNames.flatMap(textColumnsOf))

function textColumnsOf<T extends keyof Tables>(table: T): string[] {
  return columnsOf(table).filter(
    (column) => columnTypeOf(table, column) === 'text' && !COPY.test(column),
  )
}

/** Whether a statement deletes rows or replaces texts, so that the write-ahead log keeps what they were. */
export function removesText(query: RootOperationNode): boolean {
  switch (query.kind) {
    case 'DeleteQueryNode':
      return true
    case 'UpdateQueryNode':
      return query.updates?.some(({ column }) => isText(column)) ?? false
    case 'InsertQueryNode':
      return query.onConflict?.updates?.some(({ column }) => isText(column)) ?? false
    default:
      return false
  }
}

function isText(column: OperationNode): boolean {
  const node = column as { readonly column?: { readonly name?: string } }
  return textColumns.has(node.column?.name ?? '')
}
