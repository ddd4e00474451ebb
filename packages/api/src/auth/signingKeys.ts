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
import type { Deps } from '../context.ts'
import { newId } from '../identifiers.ts'

/** Seconds that a user token lives at most, and so how long a replaced signing key must still verify. */
export const MAX_TOKEN_SECONDS = 24 * 60 * 60

type Source = Pick<Deps, 'clock' | 'randomBytes'>

export interface SigningKey {
  readonly id: string
  readonly secret: Uint8Array
}

export interface SigningKeys {
  /** The key that signs. */
  current(): Promise<SigningKey>
  /** A key that still verifies, the same object each time; undefined when there is none with this id. */
  find(id: string): Promise<SigningKey | undefined>
}

/** Keys that the operator gave, which are then in no database. The first signs; all verify. */
export function fixedSigningKeys(keys: readonly [SigningKey, ...SigningKey[]]): SigningKeys {
  return {
    current: async () => keys[0],
    find: async (id) => keys.find((key) => key.id === id),
  }
}

/**
 * Keys in the database. Read anew each time, so that a rotation counts at once. The first is made when a token is to be
 * signed, and not because somebody came with a token that nobody signed.
 */
export function storedSigningKeys(deps: Omit<Deps, 'signingKeys'>): SigningKeys {
  let known: readonly SigningKey[] = []

  /** The same object each time, as long as the key verifies. */
  function keysOf(rows: readonly SigningKeyRow[]): readonly SigningKey[] {
    const keys = rows.map(toKey)
    known = keys.map((key) => known.find((one) => isSame(one, key)) ?? key)
    return known
  }

  return {
    async current() {
      const [newest] = await listSigningKeys(deps.db.read)
      return toKey(newest ?? (await deps.db.write((tx) => firstKey(deps, tx))))
    },
    async find(id) {
      const rows = living(await listSigningKeys(deps.db.read), deps.clock())
      return keysOf(rows).find((key) => key.id === id)
    },
  }
}

/** Another call may have made it meanwhile. */
async function firstKey(deps: Source, tx: Transaction): Promise<SigningKeyRow> {
  const [newest] = await listSigningKeysForUpdate(tx)
  if (newest) return newest
  const key = newKey(deps)
  await insertSigningKey(tx, key)
  return key
}

/** Of the keys, newest first, those that can have a living token: each signed until the next newer one was made. */
function living(rows: readonly SigningKeyRow[], now: number): SigningKeyRow[] {
  return rows.filter((_, index) => {
    const replacedAt = rows[index - 1]?.created_at
    return replacedAt === undefined || replacedAt + MAX_TOKEN_SECONDS * 1000 >= now
  })
}

/**
 * Puts a new key in front. Tokens signed with the others live on until they expire; keys that can have no living token
 * any more are removed.
 */
export async function rotateSigningKeys(deps: Source & { db: Database }): Promise<string> {
  return deps.db.write(async (tx) => {
    const rows = await listSigningKeysForUpdate(tx)
    const made = newKey(deps)
    // In front whatever the clock says: it may have been set back, or stand still for two rotations.
    const key = { ...made, created_at: Math.max(made.created_at, (rows[0]?.created_at ?? 0) + 1) }
    await insertSigningKey(tx, key)
    const kept = new Set(living([key, ...rows], key.created_at))
    const dead = rows.filter((row) => !kept.has(row))
    await deleteSigningKeys(
      tx,
      dead.map(({ id }) => id),
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

function newKey(deps: Source): SigningKeyRow {
  return {
    id: newId(deps),
    secret: Buffer.from(deps.randomBytes(32)).toString('base64url'),
    created_at: deps.clock(),
  }
}
