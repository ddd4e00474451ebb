import { decodeProtectedHeader } from 'jose'
import { expect, inject, test, vi } from 'vitest'
import { rotateSigningKeys } from '../src/cli/rotateSigningKeys.ts'
import {
  as,
  createOrganisation,
  outcome,
  signingKey,
  signingKeysOf,
  unlimited,
} from './credentials.ts'
import { ask } from './database.ts'
import { cli, cliWith } from './serverProcess.ts'
import { createTestApp } from './support.ts'

const ORG = 'DOWELL12345'

test('the command line creates, lists and revokes keys; the first one ends open mode at once', async () => {
  await using app = await createTestApp(unlimited)
  const list = (credential?: string) => outcome(as(app, credential).listRooms({ orgId: ORG }))
  expect(await list()).toBe('ok')
  const made = await cli(app, 'keys', 'create', '--org', ORG, '--right', 'admin', '--name', 'desk')
  expect(made).toMatchObject({ code: 0, stderr: '' })
  expect(made.stdout).toMatch(/^dck_[0-9a-f]{24}_[\w-]{51}\n$/)
  const secret = made.stdout.trim()
  const keyId = secret.slice(4, 28)
  expect(await list()).toBe('UNAUTHORIZED')
  expect(await list(secret)).toBe('ok')

  const listed = await cli(app, 'keys', 'list', '--org', ORG)
  expect(listed).toMatchObject({
    code: 0,
    stdout: `${keyId}  admin    last used never  desk\n`,
    stderr: '',
  })
  const revoked = await cli(app, 'keys', 'revoke', '--id', keyId)
  expect(revoked).toMatchObject({ code: 0, stdout: `${keyId} is revoked\n`, stderr: '' })
  expect(await list(secret)).toBe('UNAUTHORIZED')
  expect((await cli(app, 'keys', 'list', '--org', ORG)).stdout).toMatch(
    new RegExp(`^${keyId} {2}admin {4}revoked 20\\S+Z {2}desk\\n$`),
  )
})

test('the command line rotates signing keys', async () => {
  await using app = await createTestApp(unlimited)
  const org = await createOrganisation(app, ORG)
  const rotated = await cli(app, 'signing-keys', 'rotate')
  expect(rotated).toMatchObject({ code: 0, stderr: '' })
  const [id] = rotated.stdout.split(' ')
  expect(rotated.stdout).toMatch(
    /^\w{24} signs from now on\. Tokens that older keys have signed stay valid/,
  )
  const input = { orgId: ORG, userId: 'a', side: true }
  const { token } = await as(app, org.keys.support.secret).createUserToken(input)
  expect(decodeProtectedHeader(token).kid).toBe(id)
  const reading = as(app, org.tokens.support).getRoomById({ roomId: org.room })
  expect(await outcome(reading)).toBe('ok')
})

test.runIf(inject('testTarget').dialect === 'postgres')(
  'the command line rotates signing keys by the clock of the database',
  async () => {
    await using app = await createTestApp(unlimited)
    await createOrganisation(app, ORG)
    const options = {
      org: undefined,
      right: undefined,
      name: undefined,
      id: undefined,
      from: undefined,
      to: undefined,
      now: undefined,
    }
    const ahead = 40 * 24 * 60 * 60_000
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + ahead })
    try {
      await rotateSigningKeys(options, { DATABASE_URL: app.databaseUrl })
      await rotateSigningKeys(options, { DATABASE_URL: app.databaseUrl })
    } finally {
      vi.useRealTimers()
    }
    const keys = await ask(app, 'select created_at from signing_keys order by created_at')
    expect(keys).toHaveLength(3)
    expect(Number(keys[2]?.created_at)).toBeLessThan(Date.now() + ahead / 2)
  },
)

test('the command line ends the tokens of all older signing keys with --now', async () => {
  await using app = await createTestApp(unlimited)
  const org = await createOrganisation(app, ORG)
  const read = () => outcome(as(app, org.tokens.support).getRoomById({ roomId: org.room }))
  expect(await read()).toBe('ok')
  const rotated = await cli(app, 'signing-keys', 'rotate', '--now')
  expect(rotated).toMatchObject({ code: 0, stderr: '' })
  expect(rotated.stdout).toMatch(/^\w{24} signs from now on\. All older keys are deleted/)
  expect(await read()).toBe('UNAUTHORIZED')
})

test('the command line refuses to rotate signing keys that are in TOKEN_SIGNING_KEYS', async () => {
  await using app = await createTestApp(unlimited)
  const env = { DATABASE_URL: app.databaseUrl, TOKEN_SIGNING_KEYS: signingKeysOf(signingKey) }
  for (const args of [['--now'], []]) {
    const refused = await cliWith(env, 'signing-keys', 'rotate', ...args)
    expect(refused).toMatchObject({ code: 1, stdout: '' })
    expect(refused.stderr).toMatch(/^TOKEN_SIGNING_KEYS has the signing keys, so a rotation/)
    expect(refused.stderr).not.toContain(signingKey.secret.toString('base64'))
  }
  expect(await ask(app, 'select * from signing_keys')).toEqual([])
})
