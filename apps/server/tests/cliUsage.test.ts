import { expect, test } from 'vitest'
import { unlimited } from './credentials.ts'
import { ask } from './database.ts'
import { cli, type Ended } from './serverProcess.ts'
import { createTestApp } from './support.ts'

const ORG = 'DOWELL12345'

test('a wrong command gets one clear error message', async () => {
  await using app = await createTestApp(unlimited)
  const wrong: [args: string[], text: string, help: boolean][] = [
    [['keys', 'create', '--right', 'admin'], '--org is missing', true],
    [['toString'], 'there is no command "toString"', true],
    [['keys', 'list', '--organisation', ORG], "Unknown option '--organisation'", true],
    [
      ['keys', 'create', '--org', ORG, '--right', 'root'],
      'right must be one of admin, support, read',
      false,
    ],
    [['restore', '--from', '/nowhere/copy.db'], '/nowhere/copy.db is no database', true],
    [['keys', 'revoke', '--id', 'f'.repeat(24)], 'There is no such API key', false],
  ]
  const results = await Promise.all(wrong.map(([args]) => cli(app, ...args)))
  for (const [index, [args, text, help]] of wrong.entries()) {
    const { code, stdout, stderr } = results[index] as Ended
    const told = args.join(' ')
    expect({ code, stdout }, told).toEqual({ code: 1, stdout: '' })
    expect(stderr, told).toContain(text)
    expect(stderr.includes('npm run cli -- keys create'), told).toBe(help)
    expect(stderr, told).not.toMatch(/\n\s+at /)
  }
  expect(await ask(app, 'select * from api_keys')).toEqual([])
})

test('every command of the help runs', async () => {
  await using app = await createTestApp(unlimited)
  const asked = await cli(app, 'keys', 'create', '--help')
  expect(asked).toMatchObject({ code: 0, stderr: '' })
  const commands = [...asked.stdout.matchAll(/npm run cli -- ([a-z-]+(?: [a-z]+)*)/g)].map(
    ([, it]) => it,
  )
  expect(commands).toEqual([
    'keys create',
    'keys list',
    'keys revoke',
    'signing-keys rotate',
    'copy',
    'restore',
  ])
})
