import { Buffer } from 'node:buffer'

/** Whether a text is the one base64url spelling of its bytes: decoders ignore spare bits, padding and blanks. */
export function isCanonical(text: string): boolean {
  return Buffer.from(text, 'base64url').toString('base64url') === text
}
