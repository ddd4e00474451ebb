import { z } from 'zod'
import { AppError } from './errors.ts'

/** Whether a version is one of those that a request requires. REST v3 makes it from `If-Match`. */
export type IfMatch = (version: number) => boolean

const error = 'must be a version: a whole number from 0'

/** The input field of a write that depends on what its caller has read. */
export const ifVersion = z
  .int({ error })
  .nonnegative({ error })
  .meta({
    description:
      'Makes the change only if the object still has this `version`; otherwise 412. In REST v3 also: `If-Match`.',
  })
  .optional()

/** The version of an object. @param grows when it grows */
export function versionField(grows: string) {
  return z
    .int()
    .nonnegative()
    .meta({
      description: `Grows with every change of ${grows}. Send it as \`ifVersion\`, or the \`ETag\` in \`If-Match\`.`,
      example: 1,
    })
}

/**
 * Compares an object's version with the required ones. Call it in the transaction of the write, with the row locked.
 *
 * @throws AppError PRECONDITION_FAILED
 */
export function assertVersion(
  { ifMatch }: { readonly ifMatch?: IfMatch | undefined },
  required: number | undefined,
  version: number,
): void {
  const isMet = (required === undefined || required === version) && (ifMatch?.(version) ?? true)
  if (!isMet) throw new AppError('PRECONDITION_FAILED')
}
