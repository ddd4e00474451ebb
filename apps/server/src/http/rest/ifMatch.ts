import { AppError, type IfMatch } from '@dowell-chat/api'

const TAG = /(?:W\/)?"([\x21\x23-\x7e\x80-\xff]*)"/

/** Each blank and comma matches in one way only, so a malformed header takes linear time. */
const LIST = new RegExp(`^[ \\t,]*${TAG.source}(?:[ \\t]*,[ \\t,]*${TAG.source})*[ \\t,]*$`)

/** The version at the end of a tag. Proxies that compress append the coding to it. */
const VERSION = /\.(\d{1,15})(?:[-;][\w-]+)?$/

/**
 * Reads an If-Match header. Only the versions in its tags are compared, not the hashes: a new message changes the body of a
 * room, and must not fail a change of its details. So a tag that a proxy made weak, because it compresses, counts too.
 *
 * @returns undefined without the header
 * @throws AppError BAD_REQUEST when it is malformed
 */
export function readIfMatch(header: string | undefined): IfMatch | undefined {
  if (header === undefined) return undefined
  if (header.trim() === '*') return () => true
  if (!LIST.test(header)) {
    throw new AppError('BAD_REQUEST', {
      errors: { 'If-Match': ['must be *, or entity tags in double quotes, separated by commas'] },
    })
  }
  const versions = new Set<number>()
  for (const [, tag = ''] of header.matchAll(new RegExp(TAG, 'g'))) {
    const [, version] = VERSION.exec(tag) ?? []
    if (version !== undefined) versions.add(Number(version))
  }
  return (version) => versions.has(version)
}

/** For a write whose resource has no version: ignoring the header would break the caller's promise. */
export function ifMatchNotTaken(): AppError {
  return new AppError('BAD_REQUEST', {
    errors: { 'If-Match': ['is taken only where a room, a message or an organisation is changed'] },
  })
}
