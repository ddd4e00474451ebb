import { Buffer } from 'node:buffer'
import {
  type Database,
  deleteSigningKeys,
  insertSigningKey,
  listSigningKeys,
} from '@dowell-chat/db'
import type { Deps } from '../context.ts'
import { newId } from '../identifiers.ts'

/** Seconds that a user token lives at most, and so how long a replaced signing key must still verify. */
export const MAX_TOKEN_SECONDS = 24 * 60 * 60

export interface SigningKey {
  readonly id: string
  readonly secret: Uint8Array
}

/** Where signing keys come from. The first signs; all verify. */
export interface SigningKeys {
  list(): Promise<readonly SigningKey[]>
}

/** Keys that the operator gave, which are then in no database. */
export function fixedSigningKeys(keys: readonly SigningKey[]): SigningKeys {
  return { list: async () => keys }
}

/** Keys in the database; the first is made when it is needed. Read anew each time, so that a rotation counts at once. */
export function storedSigningKeys(deps: Omit<Deps, 'signingKeys'>): SigningKeys {
  return {
    async list() {
      let rows = await listSigningKeys(deps.db.read)
      if (rows.length === 0) {
        await deps.db.write(async (tx) => {
          // Another call may have made it meanwhile.
          if ((await listSigningKeys(tx)).length === 0) await insertSigningKey(tx, newKey(deps))
        })
        rows = await listSigningKeys(deps.db.read)
      }
      return rows.map(({ id, secret }) => ({ id, secret: Buffer.from(secret, 'base64url') }))
    },
  }
}

/**
 * Puts a new key in front. Tokens signed with the others live on until they expire; keys that can have no living token
 * any more are removed.
 */
export async function rotateSigningKeys(
  deps: Pick<Deps, 'clock' | 'randomBytes'> & { db: Database },
): Promise<string> {
  const key = newKey(deps)
  await deps.db.write(async (tx) => {
    const rows = await listSigningKeys(tx)
    await insertSigningKey(tx, key)
    // A key stopped signing when the next newer one was made.
    const dead = rows.filter((_, index) => {
      const replacedAt = index === 0 ? key.created_at : rows[index - 1]?.created_at
      return replacedAt !== undefined && replacedAt + MAX_TOKEN_SECONDS * 1000 < key.created_at
    })
    await deleteSigningKeys(
      tx,
      dead.map(({ id }) => id),
    )
  })
  return key.id
}

function newKey(deps: Pick<Deps, 'clock' | 'randomBytes'>) {
  return {
    id: newId(deps),
    secret: Buffer.from(deps.randomBytes(32)).toString('base64url'),
    created_at: deps.clock(),
  }
}
