import { copyDatabase } from '@dowell-chat/db'
import type { Command } from './command.ts'
import { createProgressBar } from './progressBar.ts'
import { required } from './usage.ts'

/** Copies one database into another; both URLs are options, so DATABASE_URL does not matter. */
export const copy: Command = async ({ from, to }) => {
  const bar = createProgressBar()
  try {
    const tables = await copyDatabase({
      from: required(from, '--from'),
      to: required(to, '--to'),
      onProgress: bar.show,
    })
    const lines = tables.map(
      ({ table, rows, sha256 }) => `${table.padEnd(14)}  ${`${rows}`.padStart(12)}  ${sha256}\n`,
    )
    return `Copied, and the same on both sides: table, rows, SHA-256\n${lines.join('')}`
  } finally {
    bar.stop()
  }
}
