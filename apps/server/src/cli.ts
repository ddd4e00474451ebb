import { parseArgs } from 'node:util'
import { toPublicError } from '@dowell-chat/api'
import { DatabaseError } from '@dowell-chat/db'
import type { Command, Options } from './cli/command.ts'
import { copy } from './cli/copy.ts'
import { createKey } from './cli/createKey.ts'
import { HELP } from './cli/help.ts'
import { listKeys } from './cli/listKeys.ts'
import { restore } from './cli/restore.ts'
import { revokeKey } from './cli/revokeKey.ts'
import { rotateSigningKeys } from './cli/rotateSigningKeys.ts'
import { UsageError } from './cli/usage.ts'
import { ConfigError } from './config.ts'

const commands: Record<string, Command> = {
  'keys create': createKey,
  'keys list': listKeys,
  'keys revoke': revokeKey,
  'signing-keys rotate': rotateSigningKeys,
  copy,
  restore,
}

async function main(): Promise<void> {
  const { values, positionals } = parse()
  const name = positionals.join(' ')
  if (values.help || name === '') {
    process.stdout.write(HELP)
    return
  }
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (!command) throw new UsageError(`there is no command "${name}"`)
  process.stdout.write(await command(values as Options, process.env))
}

function parse() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        org: { type: 'string' },
        right: { type: 'string' },
        name: { type: 'string' },
        id: { type: 'string' },
        from: { type: 'string' },
        to: { type: 'string' },
        now: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    })
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

/** The message for an error that the user can correct; undefined for an internal error. */
function explain(error: unknown): string | undefined {
  if (error instanceof UsageError) return `${error.message}\n\n${HELP}`
  if (error instanceof ConfigError || error instanceof DatabaseError) return error.message
  const { status, message, errors = {} } = toPublicError(error)
  if (status >= 500) return undefined
  return [message, ...Object.entries(errors).map(([field, texts]) => `${field} ${texts[0]}`)].join(
    ': ',
  )
}

try {
  await main()
} catch (error) {
  const text = explain(error) ?? (error instanceof Error ? error.stack : String(error))
  process.stderr.write(`${text}\n`)
  process.exitCode = 1
}
