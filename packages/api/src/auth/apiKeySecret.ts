import { Buffer } from 'node:buffer'
import { hash, timingSafeEqual } from 'node:crypto'
import { crc32 } from 'node:zlib'

/** What scanners of leaked secrets can look for: `dck_`, 24 hex, `_`, 43 of base64url, and 8 hex of CRC-32. */
const PATTERN = /^dck_([0-9a-f]{24})_([A-Za-z0-9_-]{43})([0-9a-f]{8})$/

/** An API key as its holder sends it. The checksum lets a scanner tell a key from a text that only looks like one. */
export function formatApiKey(keyId: string, secret: Uint8Array): string {
  const body = `dck_${keyId}_${Buffer.from(secret).toString('base64url')}`
  return body + checksum(body)
}

/** The parts of a well-formed key; undefined when it is none, which no database need be asked about. */
export function parseApiKey(key: string): { keyId: string; secretHash: string } | undefined {
  const match = PATTERN.exec(key)
  const [, keyId, secret] = match ?? []
  if (keyId === undefined || secret === undefined) return undefined
  if (!key.endsWith(checksum(`dck_${keyId}_${secret}`))) return undefined
  return { keyId, secretHash: hashSecret(Buffer.from(secret, 'base64url')) }
}

/** SHA-256 and no slow hash: 32 random bytes cannot be guessed at any speed. */
export function hashSecret(secret: Uint8Array): string {
  return hash('sha256', secret, 'hex')
}

/** Compares two hashes in constant time. */
export function sameHash(a: string, b: string): boolean {
  return timingSafeEqual(Buffer.from(a, 'hex'), Buffer.from(b, 'hex'))
}

function checksum(body: string): string {
  return crc32(body).toString(16).padStart(8, '0')
}
