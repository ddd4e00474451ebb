import { DatabaseError } from '@dowell-chat/db'
import pino from 'pino'
import { createApp } from './app.ts'
import { type Config, ConfigError, describeSettings, readConfig } from './config.ts'

const HELP = `Dowell Chat: a support-chat backend.

  npm start               install, migrate and serve
  npm start -- --help     this text

Settings are read from the environment:
${describeSettings()
  .map(({ name, standard, about }) => `\n  ${name} (${standard})\n      ${about}`)
  .join('')}
`

/** Bytes of log lines that are written at once. */
const LOG_BUFFER = 4_096

/** How long a log line may wait for others, in milliseconds. */
const LOG_DELAY = 100

async function main(): Promise<void> {
  if (process.argv.includes('--help') || process.argv.includes('-h')) {
    process.stdout.write(HELP)
    return
  }
  config = readConfig(process.env)
  // Logs go to stderr, so that stdout has the few lines for a person and nothing else. They go out together, since a write
  // for each line costs more than the line; pino writes what is left when the process ends, even by an error.
  const logger = pino(
    { level: config.LOG_LEVEL },
    pino.destination({ fd: 2, sync: false, minLength: LOG_BUFFER, periodicFlush: LOG_DELAY }),
  )
  // Listened for before there is anything to close: whoever reads that the server runs may stop it at once.
  const stopped = new Promise<string>((resolve) => {
    process.on('SIGINT', resolve)
    process.on('SIGTERM', resolve)
  })
  const app = createApp(config, logger)
  const { url, database, notice } = await app.start()
  process.stdout.write(`Dowell Chat is running. Stop it with Ctrl+C.

  REST            ${url}/api/v3   (documented v2 URLs: ${url}/api/v2)
  tRPC            ${url}/trpc
  Documentation   ${url}/docs
  Database        ${database}

${notice === undefined ? '' : `${notice}\n\n`}`)
  if (notice !== undefined) logger.warn(notice.split('\n', 1)[0])
  const signal = await stopped
  logger.info({ signal }, 'closing')
  await app.close()
  logger.info('closed')
}

/** One sentence for what an operator can mend; undefined for a fault of ours. */
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
  process.stderr.write(`Dowell Chat cannot start: ${text}\n`)
  process.exitCode = 1
}
