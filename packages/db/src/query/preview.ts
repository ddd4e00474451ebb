/** Unicode code points of its latest message that a room stores. */
export const PREVIEW_CHARACTERS = 200

/** The beginning of a text, as rooms and lists show it. Never splits a surrogate pair. */
export function previewOf(text: string): string {
  if (text.length <= PREVIEW_CHARACTERS) return text
  let units = 0
  for (let count = 0; count < PREVIEW_CHARACTERS && units < text.length; count++) {
    units += (text.codePointAt(units) as number) > 0xffff ? 2 : 1
  }
  return text.slice(0, units)
}
