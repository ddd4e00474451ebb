import type { Json } from './complete.ts'

/**
 * Replaces `anyOf` with `null` by a type that includes `null`, in the whole document. Client generators understand that; for
 * `anyOf` they generate an extra type.
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

interface Document {
  readonly components: { readonly schemas: Record<string, Json> }
}

/**
 * The same for named schemas. A reference has no type, so the named schema itself becomes nullable. It must be nullable
 * wherever it is used.
 *
 * @param isOld whether the document is OpenAPI 3.0, which allows no key beside a reference
 */
export function withNullableComponents<T extends object>(document: T, isOld: boolean): T {
  const names = new Set<string>()
  const copy = withoutNullBesideReference(document, names, isOld)
  const { schemas } = (copy as unknown as Document).components
  for (const name of names) {
    const { type, ...schema } = schemas[name] as Json
    schemas[name] = isOld
      ? { ...schema, type, nullable: true }
      : { ...schema, type: [type, 'null'] }
  }
  return copy
}

/** @param names receives the names of the schemas that become nullable */
function withoutNullBesideReference<T>(value: T, names: Set<string>, isOld: boolean): T {
  if (Array.isArray(value)) {
    return value.map((each) => withoutNullBesideReference(each, names, isOld)) as T
  }
  if (typeof value !== 'object' || value === null) return value
  const copy: Json = Object.fromEntries(
    Object.entries(value).map(([key, each]) => [
      key,
      withoutNullBesideReference(each, names, isOld),
    ]),
  )
  const { anyOf, allOf, nullable, ...rest } = copy as Json & Record<'anyOf' | 'allOf', Json[]>
  const [reference, none] = anyOf ?? allOf ?? []
  const isNullable = anyOf ? none?.type === 'null' : nullable === true
  if (!isNullable || typeof reference?.$ref !== 'string') return copy as T
  names.add(reference.$ref.replace('#/components/schemas/', ''))
  return (isOld ? { ...rest, allOf: [reference] } : { ...rest, ...reference }) as T
}
