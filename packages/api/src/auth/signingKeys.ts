import { Buffer } from 'node:buffer'
import {
  type Database,
  deleteSigningKeys,
  insertSigningKey,
  listSigningKeys,
  listSigningKeysForUpdate,
  type SigningKeyRow,
  type Transaction,
} from '@dowell-chat/db'
import { type IdSource, newId } from '../identifiers.ts'

/** Longest lifetime of a user token; a replaced signing key verifies for as long. */
export const MAX_TOKEN_SECONDS = 24 * 60 * 60

export interface SigningKey {
  readonly id: string
  readonly secret: Uint8Array
}

export interface SigningKeys {
  /** The key that signs new tokens. */
  current(): Promise<SigningKey>
  /** Finds a key that still verifies; undefined if none has this id. Returns the same object each time. */
  find(id: string): Promise<SigningKey | undefined>
}

/** Signing keys from the configuration instead of the database. The first signs; all verify. */
export function fixedSigningKeys(keys: readonly [SigningKey, ...SigningKey[]]): SigningKeys {
  return {
    current: async () => keys[0],
    find: async (id) => keys.find((key) => key.id === id),
  }
}

/**
 * Signing keys in the database, read each time, so that a rotation takes effect at once. The first key is created when a
 * token is signed, not when an unknown token is verified.
 */
export function storedSigningKeys(deps: IdSource & { readonly db: Database }): SigningKeys {
  let cached: readonly SigningKey[] = []

  /** Reuses the cached objects, since the cache of verified tokens is keyed by them. */
  function toKeys(rows: readonly SigningKeyRow[]): readonly SigningKey[] {
    const keys = rows.map(toKey)
    cached = keys.map((key) => cached.find((one) => isSame(one, key)) ?? key)
    return cached
  }

  return {
    async current() {
      const [newest] = await listSigningKeys(deps.db.read)
      return toKey(newest ?? (await deps.db.write((tx) => getOrCreateKey(deps, tx))))
    },
    async find(id) {
      const rows = unexpired(await listSigningKeys(deps.db.read), deps.clock())
      return toKeys(rows).find((key) => key.id === id)
    },
  }
}

/** Looks again under the lock: a concurrent call may have created it. */
async function getOrCreateKey(deps: IdSource, tx: Transaction): Promise<SigningKeyRow> {
  const [newest] = await listSigningKeysForUpdate(tx)
  if (newest) return newest
  const key = newKey(deps)
  await insertSigningKey(tx, key)
  return key
}

/** Keys that may have unexpired tokens. A key signs until the next newer one is created. @param rows newest first */
function unexpired(rows: readonly SigningKeyRow[], now: number): SigningKeyRow[] {
  return rows.filter((_, index) => {
    const replacedAt = rows[index - 1]?.created_at
    return replacedAt === undefined || replacedAt + MAX_TOKEN_SECONDS * 1000 >= now
  })
}

/**
 * Adds a signing key, which signs from now on. Tokens of the older keys stay valid until they expire. Deletes keys that
 * can have no unexpired token.
 *
 * @returns the id of the new key
 */
export async function rotateSigningKeys(
  deps: IdSource & { readonly db: Database },
): Promise<string> {
  return deps.db.write(async (tx) => {
    const rows = await listSigningKeysForUpdate(tx)
    const newest = newKey(deps)
    // The clock may have been set back, or two rotations may share a millisecond. The new key must still sort first.
    const created_at = Math.max(newest.created_at, (rows[0]?.created_at ?? 0) + 1)
    const key = { ...newest, created_at }
    await insertSigningKey(tx, key)
    const stillNeeded = new Set(unexpired([key, ...rows], key.created_at))
    const expired = rows.filter((row) => !stillNeeded.has(row))
    await deleteSigningKeys(
      tx,
      expired.map(({ id }) => id),
    )
    return key.id
  })
}

function toKey({ id, secret }: SigningKeyRow): SigningKey {
  return { id, secret: Buffer.from(secret, 'base64url') }
}

function isSame(one: SigningKey, other: SigningKey): boolean {
  return one.id === other.id && Buffer.compare(one.secret, other.secret) === 0
}

function newKey(deps: IdSource): SigningKeyRow {
  return {
    id: newId(deps),
    secret: Buffer.from(deps.randomBytes(32)).toString('base64url'),
    created_at: deps.clock(),
  }
}
