import type { Migration as KyselyMigration } from 'kysely/migration'
import * as roomsAndMessages from './001-rooms-and-messages.ts'
import * as identity from './002-identity.ts'
import * as live from './003-live.ts'
import * as lastMessage from './004-last-message.ts'
import * as organisationSettings from './005-organisation-settings.ts'
import * as logEpoch from './006-log-epoch.ts'
import * as userTokenRevocations from './007-user-token-revocations.ts'
import * as versions from './008-versions.ts'
import * as hashedProduct from './009-hashed-product.ts'
import * as unassignedRooms from './010-unassigned-rooms.ts'
import * as retentionClock from './011-retention-clock.ts'

export interface Migration extends KyselyMigration {
  /**
   * The first migration of the oldest version that may go on writing while this one is in the database: its writes must
   * leave nothing wrong for newer versions. Without it only versions that have this migration may write.
   */
  readonly oldestWriter?: string
}

/** Every migration, in order. A released one never changes; a new one is a new line. */
export const migrations: Record<string, Migration> = {
  '001-rooms-and-messages': roomsAndMessages,
  '002-identity': identity,
  '003-live': live,
  '004-last-message': lastMessage,
  '005-organisation-settings': organisationSettings,
  '006-log-epoch': logEpoch,
  '007-user-token-revocations': userTokenRevocations,
  '008-versions': versions,
  '009-hashed-product': hashedProduct,
  '010-unassigned-rooms': unassignedRooms,
  '011-retention-clock': retentionClock,
}
