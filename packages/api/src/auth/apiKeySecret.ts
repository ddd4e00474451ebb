import { Buffer } from 'node:buffer'
import { hash, timingSafeEqual } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { isCanonical } from './base64url.ts'

/** `dck_`, 24 hex, `_`, 43 base64url, 8 hex of CRC-32. Secret scanners can match it. */
const API_KEY = /^dck_([0-9a-f]{24})_([A-Za-z0-9_-]{43})([0-9a-f]{8})$/

/** Formats an API key as its holder sends it. The checksum lets a secret scanner reject look-alikes. */
export function formatApiKey(keyId: string, secret: Uint8Array): string {
  const body = `dck_${keyId}_${Buffer.from(secret).toString('base64url')}`
  return body + checksum(body)
}

/** Parses an API key. @returns undefined for a malformed key, which saves the database query */
export function parseApiKey(key: string): { keyId: string; secretHash: string } | undefined {
  const match = API_KEY.exec(key)
  const [, keyId, secret] = match ?? []
  if (keyId === undefined || secret === undefined) return undefined
  // 43 characters have two bits more than 32 bytes, and anybody can compute the checksum of another spelling.
  if (!isCanonical(secret)) return undefined
  if (!key.endsWith(checksum(`dck_${keyId}_${secret}`))) return undefined
  return { keyId, secretHash: hashSecret(Buffer.from(secret, 'base64url')) }
}

/** SHA-256 in hex. A slow hash adds nothing for 32 random bytes. */
export function hashSecret(secret: Uint8Array): string {
  return hash('sha256', secret, 'hex')
}

/** Compares two hashes in constant time. */
export function isSameHash(a: string, b: string): boolean {
  return timingSafeEqual(Buffer.from(a, 'hex'), Buffer.from(b, 'hex'))
}

function checksum(body: string): string {
  return crc32(body).toString(16).padStart(8, '0')
}
