import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Database } from '@dowell-chat/db'
import type { z } from 'zod'
import type { Actor } from '../src/auth/actor.ts'
import { createLastUsedTracker } from '../src/auth/lastUsed.ts'
import { storedSigningKeys } from '../src/auth/signingKeys.ts'
import { CursorEpoch } from '../src/encoding/cursorEpoch.ts'
import { Live } from '../src/events/live/live.ts'
import { LatestPageCache } from '../src/messages/latestPageCache.ts'
import type { Context, Deps } from '../src/operation/context.ts'
import { execute } from '../src/operation/execute.ts'
import type { Executable } from '../src/operation/operation.ts'
import { SettingsCache } from '../src/organisations/settingsCache.ts'
import { hiddenFromCustomers } from '../src/rooms/policy.ts'

/** No limits. */
export const noCaps = {
  total: 0,
  perActor: 0,
  perCustomer: 0,
  perAddress: 0,
  perOrganisation: 0,
  reserved: 0,
}

/** The deps that the server would build around this database, with real time and randomness. */
export function createDeps(db: Database): Deps {
  const settings = new SettingsCache(db)
  const deps = {
    db,
    clock: Date.now,
    randomBytes: (length: number) => crypto.getRandomValues(new Uint8Array(length)),
    limits: {
      messageMaxChars: 16_000,
      roomsPerCustomer: 50,
      roomsPerMinute: 10,
      roomsPerHour: 60,
    },
    checkOutputs: true,
    settings,
    latestPages: new LatestPageCache(1_000_000),
    cursorEpoch: new CursorEpoch(db),
    lastUsed: createLastUsedTracker(db, Date.now),
    live: new Live(db, {
      clock: Date.now,
      findRevoked: async () => new Set(),
      hiddenFromCustomers: (orgId) => hiddenFromCustomers(settings, orgId),
      onError(error) {
        throw error
      },
      caps: noCaps,
      lifetime: 60_000,
    }),
  }
  return { ...deps, signingKeys: storedSigningKeys(deps, () => {}) }
}

/** A request from a caller with unlimited quota; by default to a server in open mode. */
export function createContext(deps: Deps, actor: Actor = { kind: 'open', via: 'http' }): Context {
  return {
    deps,
    actor,
    address: '127.0.0.1',
    requestId: 'request',
    spend: async () => {},
    charge: async () => {},
    payForReplay: async () => {},
  }
}

/** Runs an operation as a surface does. */
export function run<Input extends z.ZodObject, Output>(
  deps: Deps,
  actor: Actor,
  operation: Executable<Input, Output>,
  input: z.input<Input>,
): Promise<Output> {
  return execute(createContext(deps, actor), operation, () => input)
}

/** Lets pending work continue for one read of this database and one turn of the event loop. */
export async function pause(db: Database): Promise<void> {
  await db.ping()
  await nextTurn()
}
