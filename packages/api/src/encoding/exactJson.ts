/** A value that JSON.parse does not keep as it was written. */
export interface Loss {
  /** The keys and indexes that lead to it; no more than {@link MAX_PATH} of them. */
  readonly path: readonly string[]
  readonly problem: string
}

/** Free JSON is nested less deeply. */
const MAX_PATH = 30

type Frame =
  | { readonly keys: Set<string>; key: string; isAtKey: boolean }
  | { readonly keys: undefined; index: number }

/** A client that reads the errors needs no more. Both bound the time and the memory for a large body. */
const MAX_LOSSES_OF_KEY = 100
const MAX_LOSSES = 5_000

const { MAX_SAFE_INTEGER } = Number

/** Beyond it, doubles leave integers out. */
export const OUT_OF_RANGE = `must be a number from -${MAX_SAFE_INTEGER} to ${MAX_SAFE_INTEGER}; send it as text`
const INEXACT = 'must be a number that is kept as it is; send it as text'

const NUMBER = /[-+.\deE]+/y

/**
 * Finds what JSON.parse loses in silence: the digits of a number, and all but the last value of a repeated key.
 *
 * @param text JSON that JSON.parse accepts
 * @returns the first losses of each outermost key; in the end one of the whole text if there are very many
 */
export function findLosses(text: string): Loss[] {
  const losses: Loss[] = []
  const frames: Frame[] = []
  const lossesOfKey = new Map<string, number>()
  /** How many losses the outermost key has, such as a call of a batch. */
  const countHere = () => lossesOfKey.get(nameOf(frames[0])) ?? 0
  const add = (problem: string) => {
    const count = countHere()
    if (count >= MAX_LOSSES_OF_KEY) return
    lossesOfKey.set(nameOf(frames[0]), count + 1)
    losses.push({ path: frames.slice(0, MAX_PATH).map(nameOf), problem })
  }
  for (let at = 0; at < text.length; ) {
    if (losses.length === MAX_LOSSES) {
      return [...losses, { path: [], problem: 'has too many values that are not kept as they are' }]
    }
    const frame = frames.at(-1)
    const character = text.charAt(at)
    if (character === '"') {
      const end = endOfString(text, at)
      if (frame?.keys && frame.isAtKey) {
        frame.key = JSON.parse(text.slice(at, end))
        if (frame.keys.has(frame.key)) add('must not be given twice')
        frame.keys.add(frame.key)
      }
      at = end
      continue
    }
    if (character === '-' || (character >= '0' && character <= '9')) {
      NUMBER.lastIndex = at
      const [literal] = NUMBER.exec(text) as unknown as [string]
      if (countHere() < MAX_LOSSES_OF_KEY && !isKept(literal)) {
        add(Math.abs(Number(literal)) > MAX_SAFE_INTEGER ? OUT_OF_RANGE : INEXACT)
      }
      at += literal.length
      continue
    }
    if (character === '{') frames.push({ keys: new Set(), key: '', isAtKey: true })
    else if (character === '[') frames.push({ keys: undefined, index: 0 })
    else if (character === '}' || character === ']') frames.pop()
    else if (character === ':' && frame?.keys) frame.isAtKey = false
    else if (character === ',' && frame) {
      if (frame.keys) frame.isAtKey = true
      else frame.index++
    }
    at++
  }
  return losses
}

function nameOf(frame: Frame | undefined): string {
  if (!frame) return ''
  return frame.keys ? frame.key : String(frame.index)
}

/** The index after the quotation mark that ends a string. */
function endOfString(text: string, start: number): number {
  for (let from = start + 1; ; ) {
    const quote = text.indexOf('"', from)
    let before = quote
    while (text.charAt(before - 1) === '\\') before--
    if ((quote - before) % 2 === 0) return quote + 1
    from = quote + 1
  }
}

/** All literals of so few digits are kept: the greatest number of decimal digits that a double always has (DBL_DIG). */
const SURE_LENGTH = 15

/** Whether a number is written with the same value as it was read. */
function isKept(literal: string): boolean {
  if (literal.length <= SURE_LENGTH && !/e/i.test(literal)) return true
  return decimalOf(literal) === decimalOf(String(Number(literal)))
}

/** Writes each value in one way: its digits without zeros at their ends, and the power of ten. */
function decimalOf(literal: string): string {
  const match = /^-?(\d+)(?:\.(\d+))?(?:e([-+]?\d+))?$/i.exec(literal)
  if (!match) return 'none'
  const [, whole = '', fraction = '', exponent = '0'] = match
  const digits = `${whole}${fraction}`.replace(/^0+/, '')
  const significant = trimZeros(digits)
  if (significant === '') return '0'
  return `${significant}e${Number(exponent) - fraction.length + digits.length - significant.length}`
}

function trimZeros(digits: string): string {
  let end = digits.length
  while (end > 0 && digits.charAt(end - 1) === '0') end--
  return digits.slice(0, end)
}
