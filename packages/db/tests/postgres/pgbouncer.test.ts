import { sql } from 'kysely'
import { expect, onTestFinished, test } from 'vitest'
import {
  appendEvent,
  appendMessage,
  insertRoom,
  nextPosition,
  openDatabase,
} from '../../src/index.ts'
import { createTestStore, kyselyOn } from '../../src/testing.ts'
import { hasPgBouncer, startPgBouncer } from '../pgbouncer.ts'
import { idOf, messageRow, roomRow } from '../support.ts'

const isMissing = !process.env.CI && !hasPgBouncer()
if (isMissing) process.stdout.write('Not tested: PgBouncer is not installed\n')

test.skipIf(isMissing)(
  'a database behind PgBouncer in session mode is migrated, written, read and listened to, with all settings',
  async () => {
    await using store = await createTestStore({ empty: true })
    await using pooler = await startPgBouncer(store.url)
    const open = async () => {
      const db = openDatabase({ url: pooler.url })
      onTestFinished(() => db.close())
      await db.migrateToLatest()
      await db.peers?.join()
      return db
    }
    const [one, two] = await Promise.all([open(), open()])
    await one.write(async (tx) => {
      const position = await nextPosition(tx, 'last_room_position', { orgId: 'A', now: 1 })
      await insertRoom(tx, roomRow({ org_id: 'A', position }))
    })
    const woken = new Promise((resolve) => two.onEvents(resolve))
    await Promise.all(
      Array.from({ length: 40 }, (_, index) =>
        (index % 2 ? one : two).write(async (tx) => {
          const where = { orgId: 'A', roomId: idOf(1) }
          const message = await appendMessage(tx, where, messageRow({ id: idOf(index) }))
          const event = { org_id: 'A', room_id: idOf(1), created_at: 1 }
          appendEvent(tx, { type: 'message.created', ...event, message_seq: message?.seq ?? 0 })
        }),
      ),
    )
    await woken
    const stored = await two.snapshot((db) =>
      kyselyOn(db).selectFrom('messages').select('seq').execute(),
    )
    expect(stored).toHaveLength(40)
    for (const db of [one, two]) {
      const { rows } = await sql`
        select current_setting('statement_timeout') as statement,
          current_setting('idle_in_transaction_session_timeout') as idle,
          current_setting('default_transaction_read_only') as read_only
      `.execute(kyselyOn(db.read))
      expect(rows).toEqual([{ statement: '5s', idle: '3s', read_only: 'on' }])
    }
  },
)
