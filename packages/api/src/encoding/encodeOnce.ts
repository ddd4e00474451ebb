/** By format. The state of a process, and safely so: it keeps only what immutable values encode to. */
const encodings = new Map<string, WeakMap<object, unknown>>()

/**
 * Encodes a value that several replies share, once.
 *
 * @param value frozen, or otherwise never changed
 * @param format names the encoding: the same value in the same format is the same result
 */
export function encodeOnce<T extends object, Encoded>(
  value: T,
  format: string,
  encode: (value: T) => Encoded,
): Encoded {
  let encoded = encodings.get(format)
  if (!encoded) {
    encoded = new WeakMap()
    encodings.set(format, encoded)
  }
  const known = encoded.get(value)
  if (known !== undefined) return known as Encoded
  const result = encode(value)
  encoded.set(value, result)
  return result
}
