/** A mistake in the command line; the user gets the message and the help. */
export class UsageError extends Error {}

/** The value of an option that the command cannot do without. */
export function required(value: string | undefined, option: string): string {
  if (!value) throw new UsageError(`${option} is missing`)
  return value
}
