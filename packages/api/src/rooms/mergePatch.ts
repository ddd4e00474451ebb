type Json = Readonly<Record<string, unknown>>

/** Applies a JSON merge patch (RFC 7396) to an object: null removes a key, an object is merged, other values replace. */
export function mergePatch(target: Json, patch: Json): Json {
  const result: Record<string, unknown> = { ...target }
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key]
    else if (!isObject(value)) result[key] = value
    else {
      const before = Object.hasOwn(result, key) ? result[key] : undefined
      result[key] = mergePatch(isObject(before) ? before : {}, value)
    }
  }
  return result
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
