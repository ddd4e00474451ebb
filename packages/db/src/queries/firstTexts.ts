import type { Session } from '../engine/session.ts'
import type { Transaction } from '../engine/transaction.ts'
import { mutate, type Params, prepared, preparedWrite } from '../query/prepared.ts'

interface OneMessage {
  readonly orgId: string
  readonly roomId: string
  readonly seq: number
}

const keyQuery = prepared((db, params: Params<{ orgId: string }>) =>
  db.selectFrom('first_text_keys').select('secret').where('org_id', '=', params.orgId),
)

/** Returns the secret with which an organisation's first texts are hashed; undefined before the first one. */
export async function findFirstTextKey(
  session: Session,
  where: { orgId: string },
): Promise<string | undefined> {
  const [row] = await keyQuery(session, where)
  return row?.secret
}

/** Stores a secret unless there is one. @returns the stored one */
export async function getOrInsertFirstTextKey(
  tx: Transaction,
  { orgId, secret }: { orgId: string; secret: string },
): Promise<string> {
  await mutate(tx, (db) =>
    db
      .insertInto('first_text_keys')
      .values({ org_id: orgId, secret })
      .onConflict((conflict) => conflict.column('org_id').doNothing()),
  )
  return (await findFirstTextKey(tx, { orgId })) ?? secret
}

const firstTextQuery = prepared((db, where: Params<OneMessage>) =>
  db
    .selectFrom('first_texts')
    .select('hash')
    .where('org_id', '=', where.orgId)
    .where('room_id', '=', where.roomId)
    .where('seq', '=', where.seq),
)

/** Returns the hash of the first text; undefined for a message that was not edited, or sent without an id. */
export async function findFirstText(
  session: Session,
  where: OneMessage,
): Promise<string | undefined> {
  const [row] = await firstTextQuery(session, where)
  return row?.hash
}

/** Stores the hash of a message's first text. There must be none yet. */
export async function insertFirstText(
  tx: Transaction,
  { orgId, roomId, seq, hash }: OneMessage & { hash: string },
): Promise<void> {
  await mutate(tx, (db) =>
    db.insertInto('first_texts').values({ org_id: orgId, room_id: roomId, seq, hash }),
  )
}

const deleteFirstTextQuery = preparedWrite((db, where: Params<OneMessage>) =>
  db
    .deleteFrom('first_texts')
    .where('org_id', '=', where.orgId)
    .where('room_id', '=', where.roomId)
    .where('seq', '=', where.seq),
)

export async function deleteFirstText(tx: Transaction, where: OneMessage): Promise<void> {
  await deleteFirstTextQuery(tx, where)
}
