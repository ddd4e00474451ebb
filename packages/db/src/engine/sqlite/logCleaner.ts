import type { ConnectionPool } from '../engine.ts'
import { statement } from '../session.ts'

/** How long removed text may wait, so that many removals share a checkpoint (ms). */
const DELAY_MS = 1_000

/** Attempts, one per delay, after which the operator is told that a reader is in the way. */
const ATTEMPTS_BEFORE_WARNING = 60

const TRUNCATE = statement('pragma wal_checkpoint(truncate)')

/** Empties the write-ahead log, which otherwise keeps the pages before a change until it is overwritten. */
export class LogCleaner {
  readonly #writer: ConnectionPool
  #timer: NodeJS.Timeout | undefined
  #attempts = 0
  #isClosed = false

  constructor(writer: ConnectionPool) {
    this.#writer = writer
  }

  schedule(): void {
    if (this.#isClosed) return
    this.#timer ??= setTimeout(() => void this.#clean(), DELAY_MS).unref()
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
  }

  async #clean(): Promise<void> {
    this.#timer = undefined
    const isDone = await this.#truncate()
    this.#attempts = isDone ? 0 : this.#attempts + 1
    if (isDone) return
    if (this.#attempts === ATTEMPTS_BEFORE_WARNING) {
      process.emitWarning(
        'deleted text stays in the -wal file, because another process has had the database open in a transaction for a minute',
      )
    }
    this.schedule()
  }

  /** @returns whether the log is empty now; false while another connection reads from it or writes */
  async #truncate(): Promise<boolean> {
    if (this.#isClosed) return false
    try {
      return await this.#writer.lend(async (connection) => {
        const [result] = (await connection.execute(TRUNCATE)) as { busy: number }[]
        return result?.busy === 0
      })
    } catch {
      // A full disk, for example.
      return false
    }
  }
}
