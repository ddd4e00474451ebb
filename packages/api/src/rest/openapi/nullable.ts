import type { Json } from './operation.ts'

/**
 * Says "or null" by the type alone, all through a document: generators of clients understand that, and make of a choice
 * between something and nothing a type of its own.
 */
export function withNullTypes<T>(value: T): T {
  if (Array.isArray(value)) return value.map(withNullTypes) as T
  if (typeof value !== 'object' || value === null) return value
  const copy: Json = Object.fromEntries(
    Object.entries(value).map(([key, each]) => [key, withNullTypes(each)]),
  )
  const { anyOf, ...rest } = copy as { anyOf?: Json[] }
  const [one, none] = anyOf ?? []
  const isNullable = anyOf?.length === 2 && none?.type === 'null' && typeof one?.type === 'string'
  return (isNullable ? { ...one, type: [one.type, 'null'], ...rest } : copy) as T
}
