import { decodeProtectedHeader } from 'jose'
import { expect, test } from 'vitest'
import { as, createOrganisation, outcome, unlimited } from './credentials.ts'
import { cli } from './serverProcess.ts'
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
  expect(rotated.stdout).toBe(`${id} signs from now on\n`)
  const input = { orgId: ORG, userId: 'a', side: true }
  const { token } = await as(app, org.keys.support.secret).createUserToken(input)
  expect(decodeProtectedHeader(token).kid).toBe(id)
  const reading = as(app, org.tokens.support).getRoomById({ roomId: org.room })
  expect(await outcome(reading)).toBe('ok')
})
