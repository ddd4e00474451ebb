import { setTimeout as sleep } from 'node:timers/promises'
import { DatabaseError } from '@dowell-chat/db'
import pino from 'pino'
import { createApp } from './app.ts'
import { type Config, ConfigError, describeSettings, readConfig } from './config.ts'

const HELP = `Dowell Chat: a support-chat backend.

  npm start               install, migrate and serve
  npm start -- --help     this text

Settings are read from the environment:
${describeSettings()
  .map((one) => `\n  ${one.name} (${one.default})\n      ${one.description}`)
  .join('')}
`

/** Log lines are written when they reach this size, or after the delay. */
const LOG_BUFFER_BYTES = 4_096
const LOG_DELAY_MS = 100

/** The time that an interrupted start has to undo everything. */
const UNDO_MS = 5_000

/** Signals within this time count as one. */
const SAME_SIGNAL_MS = 2_000

async function main(): Promise<void> {
  if (process.argv.includes('--help') || process.argv.includes('-h')) {
    process.stdout.write(HELP)
    return
  }
  config = readConfig(process.env)
  // Logs go to stderr: stdout has only the few lines for a person. They are buffered, since a write for each line costs more
  // than the line; pino flushes them when the process ends, even by an error.
  const logger = pino(
    { level: config.LOG_LEVEL },
    pino.destination({
      fd: 2,
      sync: false,
      minLength: LOG_BUFFER_BYTES,
      periodicFlush: LOG_DELAY_MS,
    }),
  )
  // Before the start: the message that the server runs may be answered by a signal at once.
  const stopped = firstSignal()
  const app = createApp(config, logger)
  const starting = app.start()
  const started = await Promise.race([starting, stopped])
  if (typeof started === 'object') {
    const { url, database, notice } = started
    process.stdout.write(`Dowell Chat is running. Stop it with Ctrl+C.

  REST            ${url}/api/v3   (documented v2 URLs: ${url}/api/v2)
  tRPC            ${url}/trpc
  Documentation   ${url}/docs
  Database        ${database}

${notice === undefined ? '' : `${notice}\n\n`}`)
    if (notice !== undefined) logger.warn(notice.split('\n', 1)[0])
  }
  const signal = await stopped
  logger.info({ signal }, 'closing')
  if (typeof started === 'object') {
    await app.close()
    logger.info('closed')
  } else {
    // The start may wait for something that never comes.
    await Promise.race([Promise.allSettled([app.close(), starting]), sleep(UNDO_MS)])
    logger.info('closed')
    process.exit()
  }
}

/**
 * Resolves with the first signal to stop. A later one ends the process at once. Signals in quick succession count as one: a
 * Ctrl+C comes from the terminal, from npm and from processes in between.
 */
function firstSignal(): Promise<NodeJS.Signals> {
  let first: number | undefined
  return new Promise((resolve) => {
    const stop = (signal: NodeJS.Signals) => {
      first ??= performance.now()
      resolve(signal)
      if (performance.now() - first > SAME_SIGNAL_MS) process.exit(1)
    }
    process.on('SIGINT', stop)
    process.on('SIGTERM', stop)
  })
}

/** Explains an error that the operator can fix; undefined for a bug. */
function explain(error: unknown, config: Config | undefined): string | undefined {
  if (error instanceof ConfigError || error instanceof DatabaseError) return error.message
  switch ((error as NodeJS.ErrnoException).code) {
    case 'EADDRINUSE':
      return `port ${config?.PORT} on ${config?.HOST} is taken; set PORT to another one`
    case 'EACCES':
      return `this user may not listen on port ${config?.PORT}; set PORT to one above 1023`
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `HOST ${config?.HOST} is not an address of this machine`
    default:
      return undefined
  }
}

let config: Config | undefined
try {
  await main()
} catch (error) {
  const text = explain(error, config) ?? (error instanceof Error ? error.stack : String(error))
  // Exits at once, even if something could not be undone.
  process.stderr.write(`Dowell Chat cannot start: ${text}\n`, () => process.exit(1))
}
