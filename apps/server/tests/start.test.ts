import { createTestStore } from '@dowell-chat/db/testing'
import { describe, expect, test } from 'vitest'
import { describeSettings } from '../src/config.ts'
import { refusal, run } from './serverProcess.ts'

describe.concurrent('a server that cannot start says why in one sentence', () => {
  test('an address that this machine does not have', async () => {
    await using store = await createTestStore()
    // TEST-NET-1: nobody's address (RFC 5737).
    const env = { HOST: '192.0.2.1', DATABASE_URL: store.url }
    expect(await refusal(env)).toContain('HOST 192.0.2.1 is not an address of this machine')
  })

  test('settings that make no sense, all of them at once', async () => {
    const said = await refusal({ PORT: '80000', LOG_LEVEL: 'loud', MESSAGE_MAX_CHARS: '0' })
    expect(said).toContain('PORT must be a whole number from 0 to 65535')
    expect(said).toContain(
      'LOG_LEVEL must be one of fatal, error, warn, info, debug, trace, silent',
    )
    expect(said).toContain('MESSAGE_MAX_CHARS must be a whole number from 1 to 1000000')
  })

  test('a database whose server is not there, whose password is not repeated', async () => {
    const said = await refusal({ DATABASE_URL: 'postgres://someone:s3cret@db.invalid/chat' })
    expect(said).toContain('its host is not known')
    expect(said).not.toContain('s3cret')
  })

  test('another database, whose password is not repeated', async () => {
    const said = await refusal({ DATABASE_URL: 'mysql://someone:s3cret@db.invalid/chat' })
    expect(said).toContain('DATABASE_URL must be "sqlite:"')
    expect(said).not.toMatch(/s3cret|someone|db\.invalid/)
  })
})

test('--help lists every setting', async () => {
  const { code, stdout, stderr } = await run({}, ['--help']).ended
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  for (const { name, default: value, description } of describeSettings()) {
    expect(stdout).toContain(`${name} (${value})\n      ${description}`)
  }
})
