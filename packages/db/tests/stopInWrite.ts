import { once } from 'node:events'
import { sql } from 'kysely'
import { openDatabase } from '../src/index.ts'
import { kyselyOn } from '../src/testing.ts'

/** A process that locks a row in a write, reports that, and continues after a message. It ends after the commit. */
const db = openDatabase({ url: process.argv[2] ?? '' })
let runs = 0

await db.write(async (tx) => {
  await sql`update scratch set count = count + 1 where value = 0`.execute(kyselyOn(tx))
  if (++runs > 1) return
  const told = once(process, 'message')
  process.send?.('locked')
  await told
  // The transaction may be gone.
  await sql`select 1`.execute(kyselyOn(tx))
})
await db.close()
process.disconnect()
