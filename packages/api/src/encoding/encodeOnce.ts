/** Encodings by their source object, with the lifetime of that object. */
const encodings = new WeakMap<object, Map<string, unknown>>()

/**
 * Encodes a value. A frozen one is encoded once per format for all callers that share it.
 *
 * @param format names the encoding
 */
export function encodeOnce<Value extends object, Encoding>(
  value: Value,
  format: string,
  encode: (value: Value) => Encoding,
): Encoding {
  if (!Object.isFrozen(value)) return encode(value)
  let cache = encodings.get(value)
  if (!cache) {
    cache = new Map()
    encodings.set(value, cache)
  }
  let encoding = cache.get(format) as Encoding | undefined
  if (encoding === undefined) {
    encoding = encode(value)
    cache.set(format, encoding)
  }
  return encoding
}
