import { Buffer } from 'node:buffer'

/** The clock and the random source of ids. */
export interface IdSource {
  /** Milliseconds since the Unix epoch. */
  readonly clock: () => number
  /** Cryptographically secure random bytes. */
  readonly randomBytes: (length: number) => Uint8Array
}

/**
 * Returns 24 lower-case hex characters: 4 bytes of Unix seconds, then 8 random bytes. Random rather than counted, so that
 * ids cannot be guessed.
 */
export function newId({ clock, randomBytes }: IdSource): string {
  const seconds = Math.floor(clock() / 1000) % 2 ** 32
  return seconds.toString(16).padStart(8, '0') + Buffer.from(randomBytes(8)).toString('hex')
}

/** Returns 30 characters: `FB101`, zeros, Unix seconds, `#` and seven digits, such as FB10100000001693018738#5535526. */
export function newEventId({ clock, randomBytes }: IdSource): string {
  const seconds = Math.floor(clock() / 1000).toString()
  const random = Buffer.from(randomBytes(6)).readUIntBE(0, 6) % 10_000_000
  return `FB101${seconds.padStart(17, '0')}#${random.toString().padStart(7, '0')}`
}

const productCodes = new Map([
  ['WORKFLOWAI', '11'],
  ['TEAMMANAGEMENT', '12'],
  ['WIFIQRCODE', '13'],
  ['SALESAGENTLOGIN', '14'],
  ['LEGALZARD', '15'],
  ['USEREXPERIENCELIVE', '16'],
  ['SOCIALMEDIAAUTOMATION', '17'],
  ['LIVINGLABSCALES', '18'],
  ['LOGOSCAN', '19'],
  ['LIVINGLABMONITORING', '20'],
  ['PERMUTATIONCALCULATOR', '21'],
  ['SECUREREPOSITORIES', '22'],
  ['SECUREDATA', '23'],
  ['CUSTOMEREXPERIENCE', '24'],
  ['DOWELLCSC', '25'],
  ['LIVINGLABCHAT', '26'],
  ['SALESAGENT', '27'],
  ['LOGIN', '28'],
  ['DOWELLMAIL', '29'],
  ['EXTENSION', '30'],
  ['LIVINGLABADMIN', '31'],
  ['PUBLICCHAT', '32'],
])

/** Returns `<product code>-<user id>`, with the product's name if it has no code. */
export function roomRoomId(productName: string, userId: string): string {
  return `${productCodes.get(productName) ?? productName}-${userId}`
}
