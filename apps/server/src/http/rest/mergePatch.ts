import { AppError, type FieldErrors, type Fields, type MergePatch } from '@dowell-chat/api'

/** Converts a JSON merge patch (RFC 7396) of a resource to input fields. @throws AppError BAD_REQUEST */
export function fieldsOfPatch(
  patch: Fields,
  { members, removed = {}, merged = {} }: MergePatch,
): Fields {
  const unknown = Object.keys(patch).filter((key) => !members.includes(key))
  if (unknown.length > 0) {
    const errors = unknown.slice(0, 20).map((key) => [JSON.stringify(key.slice(0, 100)), NO_MEMBER])
    throw new AppError('BAD_REQUEST', { errors: Object.fromEntries(errors) })
  }
  return Object.fromEntries(
    Object.entries(patch).map(([key, value]) => {
      if (value === null) return [key, removed[key] ?? null]
      const target = typeof value === 'object' && !Array.isArray(value) ? merged[key] : undefined
      return [target ?? key, value]
    }),
  )
}

const NO_MEMBER = ['is not a member that a merge patch can change']

/** Names the fields of an error as the patch does. */
export function namedAsInPatch(error: unknown, { merged = {} }: MergePatch): unknown {
  if (!(error instanceof AppError) || !error.errors) return error
  const renamed = Object.entries(error.errors).map(([field, texts]) => {
    const [member, target = ''] =
      Object.entries(merged).find(([, target]) => field.split('.', 1)[0] === target) ?? []
    return [member === undefined ? field : member + field.slice(target.length), texts]
  })
  const { code, message, cause } = error
  return new AppError(code, { message, cause, errors: Object.fromEntries(renamed) as FieldErrors })
}
