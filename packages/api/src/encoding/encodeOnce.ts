/** Encodings by the object they were made of. They live as long as the object does. */
const encodings = new WeakMap<object, Map<string, unknown>>()

/**
 * Encodes a value, and an immutable one only once for all callers that share it.
 *
 * @param format tells the encodings of one value apart
 */
export function encodeOnce<Value extends object, Encoding>(
  value: Value,
  format: string,
  encode: (value: Value) => Encoding,
): Encoding {
  if (!Object.isFrozen(value)) return encode(value)
  let known = encodings.get(value)
  if (!known) {
    known = new Map()
    encodings.set(value, known)
  }
  let encoding = known.get(format) as Encoding | undefined
  if (encoding === undefined) {
    encoding = encode(value)
    known.set(format, encoding)
  }
  return encoding
}
