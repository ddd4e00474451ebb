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

/** How much the clocks of two servers may differ. */
export const CLOCK_LEEWAY_SECONDS = 60

export interface SigningKey {
  readonly id: string
  readonly secret: Uint8Array
  /** When a newer key took its place, in milliseconds since the Unix epoch. It verifies no token that was issued later. */
  readonly replacedAt: number | undefined
}

export interface SigningKeys {
  /** The key that signs new tokens. */
  current(): Promise<SigningKey>
  /** Finds a key that still verifies; undefined if none has this id. Returns the same object each time. */
  find(id: string): Promise<SigningKey | undefined>
}

/** Signing keys from the configuration instead of the database. The first signs; all verify until they are removed. */
export function fixedSigningKeys(keys: readonly [Secret, ...Secret[]]): SigningKeys {
  const [first, ...others] = keys.map((key) => ({ ...key, replacedAt: undefined }))
  return {
    current: async () => first as SigningKey,
    find: async (id) => [first as SigningKey, ...others].find((key) => key.id === id),
  }
}

type Secret = Pick<SigningKey, 'id' | 'secret'>

/**
 * Signing keys in the database, read each time, so that a rotation takes effect at once. The first key is created when a
 * token is signed, not when an unknown token is verified.
 *
 * @param onRotation called when this process first reads the keys after a rotation, with their ids, the newest first
 */
export function storedSigningKeys(
  deps: IdSource & { readonly db: Database },
  onRotation: (ids: readonly string[]) => void,
): SigningKeys {
  let cached: readonly SigningKey[] = []
  let newest: SigningKeyRow | undefined

  async function list(): Promise<readonly SigningKey[]> {
    const rows = await listSigningKeys(deps.db.read)
    // Keep objects that did not change: the cache of verified tokens is keyed by them.
    cached = toKeys(rows).map((key) => cached.find((one) => isSame(key, one)) ?? key)
    // Two reads at once may resolve in either order.
    const [first] = rows
    if (first && !(newest && newest.created_at >= first.created_at)) {
      if (newest) onRotation(rows.map(({ id }) => id))
      newest = first
    }
    return cached
  }

  return {
    async current() {
      const [current] = await list()
      if (current) return current
      await deps.db.write((tx) => getOrCreateKey(deps, tx))
      return (await list())[0] as SigningKey
    },
    async find(id) {
      const key = (await list()).find((one) => one.id === id)
      return key && isNeeded(key, deps.clock()) ? key : undefined
    },
  }
}

/** Looks again under the lock: a concurrent call may have created it. */
async function getOrCreateKey(deps: IdSource, tx: Transaction): Promise<void> {
  const rows = await listSigningKeysForUpdate(tx)
  if (rows.length === 0) await insertSigningKey(tx, newKey(deps))
}

/** Whether a key may have unexpired tokens: one issued at the last moment, that lives as long as possible. */
function isNeeded({ replacedAt }: Pick<SigningKey, 'replacedAt'>, now: number): boolean {
  if (replacedAt === undefined) return true
  return replacedAt + (MAX_TOKEN_SECONDS + 2 * CLOCK_LEEWAY_SECONDS) * 1000 > now
}

/**
 * Adds a signing key, which signs from now on. The older keys verify the tokens that they have signed until these expire.
 * Deletes keys that can have no unexpired token.
 *
 * @param endAll deletes all older keys, which ends their tokens and the streams that these opened
 * @returns the id of the new key
 */
export async function rotateSigningKeys(
  deps: IdSource & { readonly db: Database },
  { endAll = false } = {},
): Promise<string> {
  return deps.db.write(async (tx) => {
    const rows = await listSigningKeysForUpdate(tx)
    const newest = newKey(deps)
    // The clock may have been set back, or two rotations may share a millisecond. The new key must still sort first.
    const created_at = Math.max(newest.created_at, (rows[0]?.created_at ?? 0) + 1)
    const key = { ...newest, created_at }
    await insertSigningKey(tx, key)
    const [, ...older] = toKeys([key, ...rows])
    const ended = older.filter((one) => endAll || !isNeeded(one, created_at))
    await deleteSigningKeys(
      tx,
      ended.map(({ id }) => id),
    )
    return key.id
  })
}

/** A key signs until the next newer one is created. @param rows newest first */
function toKeys(rows: readonly SigningKeyRow[]): SigningKey[] {
  return rows.map(({ id, secret }, index) => ({
    id,
    secret: Buffer.from(secret, 'base64url'),
    replacedAt: rows[index - 1]?.created_at,
  }))
}

function isSame(one: SigningKey, other: SigningKey): boolean {
  return (
    one.id === other.id &&
    one.replacedAt === other.replacedAt &&
    Buffer.compare(one.secret, other.secret) === 0
  )
}

function newKey(deps: IdSource): SigningKeyRow {
  return {
    id: newId(deps),
    secret: Buffer.from(deps.randomBytes(32)).toString('base64url'),
    created_at: deps.clock(),
  }
}
