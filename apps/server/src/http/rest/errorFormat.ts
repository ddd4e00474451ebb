import { type ErrorFormat, plainErrorFormat } from '../core/errors.ts'

/** `{success: false, message, code, errors}`, with the documented names of the fields. */
export const v2ErrorFormat: ErrorFormat = (error, requestId) => {
  const { errors, ...rest } = plainErrorFormat(error, requestId) as {
    errors?: Record<string, string[]>
  }
  const named = errors && Object.entries(errors).map(([key, texts]) => [snakeCase(key), texts])
  return { success: false, ...rest, ...(named ? { errors: Object.fromEntries(named) } : {}) }
}

function snakeCase(name: string): string {
  return name.replace(/[a-z][A-Z]/g, ([a, b]) => `${a}_${b?.toLowerCase()}`)
}
