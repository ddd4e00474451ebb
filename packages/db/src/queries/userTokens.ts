import type { Session } from '../engine/session.ts'
import type { Transaction } from '../engine/transaction.ts'
import { mutate, type Params, prepared } from '../query/prepared.ts'
import type { UserTokenRevocationRow } from '../tables.ts'

/** What can end a user's token. */
export interface UserTokenStatus {
  /** 1 if the API key exists in the organisation and is not revoked. */
  readonly has_key: 0 | 1
  /** When the tokens of this user were last revoked, in milliseconds; null if they were not, or long ago. */
  readonly revoked_at: number | null
}

const statusQuery = prepared(
  (db, params: Params<{ orgId: string; userId: string; keyId: string }>) =>
    db.selectNoFrom([
      (eb) =>
        eb
          .selectFrom('api_keys')
          .select((key) => key.fn.countAll<0 | 1>().as('count'))
          .where('id', '=', params.keyId)
          .where('org_id', '=', params.orgId)
          .where('revoked_at', 'is', null)
          .as('has_key'),
      (eb) =>
        eb
          .selectFrom('user_token_revocations')
          .select('revoked_at')
          .where('org_id', '=', params.orgId)
          .where('user_id', '=', params.userId)
          .as('revoked_at'),
    ]),
)

/** Finds both in one statement, since every call with a user token needs them. */
export async function findUserTokenStatus(
  session: Session,
  where: { orgId: string; userId: string; keyId: string },
): Promise<UserTokenStatus> {
  const [status] = await statusQuery(session, where)
  return status as UserTokenStatus
}

/** Inserts the time of a user's last revocation, or moves it forward. */
export async function saveUserTokenRevocation(
  tx: Transaction,
  { orgId, userId, now }: { orgId: string; userId: string; now: number },
): Promise<void> {
  await mutate(tx, (db) =>
    db
      .insertInto('user_token_revocations')
      .values({ org_id: orgId, user_id: userId, revoked_at: now })
      .onConflict((conflict) =>
        conflict
          .columns(['org_id', 'user_id'])
          .doUpdateSet({ revoked_at: now })
          // The clock of another instance may be ahead.
          .where('user_token_revocations.revoked_at', '<', now),
      ),
  )
}

const recentQuery = prepared((db, params: Params<{ since: number }>) =>
  db.selectFrom('user_token_revocations').selectAll().where('revoked_at', '>=', params.since),
)

/** Lists the recent revocations of all organisations, for the open streams of this process. */
export function listUserTokenRevocations(
  session: Session,
  where: { since: number },
): Promise<UserTokenRevocationRow[]> {
  return recentQuery(session, where)
}

/** Deletes old revocations. */
export async function deleteUserTokenRevocations(
  tx: Transaction,
  { before }: { before: number },
): Promise<void> {
  await mutate(tx, (db) => db.deleteFrom('user_token_revocations').where('revoked_at', '<', before))
}
