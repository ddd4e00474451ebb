/**
 * A character that a reader sees. Not one: white space, controls, and what Unicode lets a program show as nothing
 * (Default_Ignorable_Code_Point: joiners, variation selectors, Hangul fillers, tags; UAX #44, 5.3).
 *
 * Two corrections. Format characters (Cf) are invisible, but the prepended marks of Arabic, Syriac and Kaithi are drawn
 * (Prepended_Concatenation_Mark, which JavaScript does not know). And two symbols are drawn as nothing: the blank pattern
 * of Braille and the musical null notehead.
 */
const VISIBLE =
  /[^\p{White_Space}\p{Default_Ignorable_Code_Point}\p{Cc}[\p{Cf}--[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u{110bd}\u{110cd}]]\u2800\u{1d159}]/v

/**
 * Whether a text has a character that a reader sees. Nearly always the first one is.
 *
 * @param text well-formed
 */
export function isVisible(text: string): boolean {
  return VISIBLE.test(text)
}

/**
 * A blank at the end of a name: white space, and characters of no width that join nothing. Joiners and variation selectors
 * are not among them, since words and emoji end with them. All take one UTF-16 unit.
 */
const BLANK = /[\p{White_Space}\u00ad\u115f\u1160\u180e\u200b\u2060\u2800\u3164\ufeff\uffa0]/u

/** Removes the blanks at both ends. */
export function trimBlanks(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && BLANK.test(text.charAt(start))) start++
  while (end > start && BLANK.test(text.charAt(end - 1))) end--
  return text.slice(start, end)
}

/** A path segment that URL parsers remove, also percent-encoded: https://url.spec.whatwg.org/#single-dot-path-segment */
const DOT_SEGMENT = /^(?:\.|%2e){1,2}$/i

export function isDotSegment(text: string): boolean {
  return DOT_SEGMENT.test(text)
}

/** Says where the first control character (Cc) is, in code points from 1, such as "character 3 is U+0009". */
export function findControl(text: string): string | undefined {
  return locate(text, /\p{Cc}/u)
}

/** Says where the first half of a surrogate pair is. */
export function findLoneSurrogate(text: string): string | undefined {
  return text.isWellFormed() ? undefined : locate(text, /\p{Cs}/u)
}

/** Says where the first NUL is, which PostgreSQL cannot store. */
export function findNul(text: string): string | undefined {
  return text.includes('\0') ? locate(text, /\0/) : undefined
}

function locate(text: string, pattern: RegExp): string | undefined {
  const found = pattern.exec(text)
  if (!found) return undefined
  const place = [...text.slice(0, found.index)].length + 1
  const code = found[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')
  return `character ${place} is U+${code}`
}
