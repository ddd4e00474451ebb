import { Buffer, transcode } from 'node:buffer'

/** A character that makes the whole string two bytes wide in memory. In a narrow string the search takes no time. */
const WIDE = /[\u0100-\uffff]/

/**
 * The UTF-8 bytes of well-formed text, such as JSON. V8 converts a string with one character beyond Latin-1 a character at
 * a time; through UTF-16 it takes a third of the time.
 */
export function toUtf8(text: string): Buffer {
  return WIDE.test(text)
    ? transcode(Buffer.from(text, 'utf16le'), 'utf16le', 'utf8')
    : Buffer.from(text)
}
