import { createInterface } from 'node:readline'
import { openDatabase } from '../src/index.ts'

/** A process that opens and migrates each database whose URL it reads, and prints the outcome. */
process.stdout.write('ready\n')
for await (const url of createInterface({ input: process.stdin })) {
  try {
    const db = openDatabase({ url })
    await db.migrateToLatest()
    await db.close()
    process.stdout.write('migrated\n')
  } catch (error) {
    process.stdout.write(`${error}\n`)
  }
}
