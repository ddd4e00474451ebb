import { writeFileSync } from 'node:fs'
import express from 'express'
import fc from 'fast-check'
import pino from 'pino'
import { describe, expect, test } from 'vitest'
import { createApp } from '../src/app.ts'
import { type Config, ConfigError, describeSettings, readConfig } from '../src/config.ts'
import { createFolder } from './serverProcess.ts'

type Name = keyof Config

const defaults: Config = {
  PORT: 3000,
  HOST: '127.0.0.1',
  DATABASE_URL: 'sqlite:./data/dowell-chat.db',
  DATABASE_POOL_SIZE: 10,
  DATABASE_STATEMENT_TIMEOUT: 5_000,
  SQLITE_CHECKPOINTS: 'server',
  LOG_LEVEL: 'info',
  MESSAGE_MAX_CHARS: 16_000,
  AUTH: 'keys',
  TOKEN_SIGNING_KEYS: [],
  TRUST_PROXY: [],
  CORS_ORIGINS: [],
  NODE_ENV: '',
  EVENT_RETENTION_DAYS: 30,
  CONNECTIONS_MAX: 20_000,
  CONNECTIONS_PER_ADDRESS: 2_000,
  STREAMS_MAX: 10_000,
  STREAMS_PER_ACTOR: 100,
  ROOMS_PER_CUSTOMER: 50,
  ROOMS_PER_MINUTE: 10,
  ROOMS_PER_HOUR: 60,
  STREAMS_PER_CUSTOMER: 20,
  STREAMS_PER_ADDRESS: 500,
  STREAMS_PER_ORGANISATION: 5_000,
  STREAMS_RESERVED: 10,
  RATE_LIMIT_ACTOR: 60_000,
  RATE_LIMIT_CUSTOMER: 3_000,
  RATE_LIMIT_ADDRESS: 120_000,
  RATE_LIMIT_FAILURES: 60,
}

const secret = Buffer.alloc(32, 7).toString('base64')
const url = Buffer.alloc(33, 0xfb).toString('base64url')
const short = Buffer.alloc(31, 7).toString('base64')

const limit = {
  valid: [
    ['0', 0],
    ['1', 1],
    ['100000000', 100_000_000],
  ],
  invalid: ['-1', '1.5', '1e3', '0x10', 'many', ' 5', '5 ', '100000001', '99999999999', '١'],
  says: /must be a whole number from 0 to 100000000$/,
} as const

const streams = {
  valid: [
    ['0', 0],
    ['250', 250],
    ['10000000', 10_000_000],
  ],
  invalid: ['-1', '1.5', '1e3', 'many', ' 5', '10000001'],
  says: /must be a whole number from 0 to 10000000$/,
} as const

const rooms = {
  valid: [
    ['0', 0],
    ['3', 3],
    ['10000', 10_000],
  ],
  invalid: ['-1', '1.5', '1e3', 'many', ' 5', '10001'],
  says: /must be a whole number from 0 to 10000$/,
} as const

/** What each setting takes, what it does not, and what is said of that. */
const cases: {
  [N in Name]: {
    readonly valid: readonly (readonly [string, Config[N]])[]
    readonly invalid: readonly string[]
    readonly says: RegExp
  }
} = {
  PORT: {
    valid: [
      ['0', 0],
      ['8080', 8080],
      ['65535', 65_535],
    ],
    invalid: ['65536', '-1', '80.5', 'http', '0x50', ' 80', '3000;', '1e3', '9999999999'],
    says: /must be a whole number from 0 to 65535$/,
  },
  HOST: {
    valid: ['0.0.0.0', '::', '::1', 'localhost', 'chat.internal', 'fd00::2'].map(
      (host) => [host, host] as const,
    ),
    invalid: ['http://localhost', 'localhost/', 'a b', '[::1]', 'a,b', '10.0.0.0/8', '*'],
    says: /must be an address or a host name$/,
  },
  DATABASE_URL: {
    valid: [['sqlite:/tmp/a.db', 'sqlite:/tmp/a.db']],
    invalid: [],
    says: /./,
  },
  DATABASE_POOL_SIZE: {
    valid: [
      ['2', 2],
      ['1000', 1_000],
    ],
    invalid: ['0', '1', '-5', '1001', '2.5', 'many'],
    says: /must be a whole number from 2 to 1000$/,
  },
  DATABASE_STATEMENT_TIMEOUT: {
    valid: [
      ['100', 100],
      ['600000', 600_000],
    ],
    invalid: ['0', '99', '600001', '5s', '-1'],
    says: /must be a whole number from 100 to 600000$/,
  },
  SQLITE_CHECKPOINTS: {
    valid: [
      ['server', 'server'],
      ['external', 'external'],
    ],
    invalid: ['off', 'SERVER', 'litestream'],
    says: /must be server or external$/,
  },
  LOG_LEVEL: {
    valid: (['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const).map(
      (level) => [level, level] as const,
    ),
    invalid: ['INFO', 'verbose', 'warning', ' info', 'toString', '__proto__'],
    says: /must be one of fatal, error, warn, info, debug, trace, silent$/,
  },
  MESSAGE_MAX_CHARS: {
    valid: [
      ['1', 1],
      ['1000000', 1_000_000],
    ],
    invalid: ['0', '1000001', '-5', '16k', '1_000'],
    says: /must be a whole number from 1 to 1000000$/,
  },
  AUTH: {
    valid: [
      ['keys', 'keys'],
      ['open', 'open'],
    ],
    invalid: ['Open', 'none', 'true', 'keys,open', 'off'],
    says: /must be keys or open$/,
  },
  TOKEN_SIGNING_KEYS: {
    valid: [
      [`one:${secret}`, [`one:${secret}`]],
      [` one:${secret} , two.2_b-c:${url} ,`, [`one:${secret}`, `two.2_b-c:${url}`]],
      [`a:${secret.replaceAll('=', '')}`, [`a:${secret.replaceAll('=', '')}`]],
      [',', []],
    ],
    invalid: [
      secret,
      `:${secret}`,
      'one:',
      `one:${short}`,
      `one:${secret}:more`,
      `one two:${secret}`,
      `${'i'.repeat(65)}:${secret}`,
      `one:${secret}===`,
      `one:${secret}*`,
      `one:${secret},two`,
    ],
    says: /must be id:secret, with 32 bytes or more in base64, comma-separated$/,
  },
  TRUST_PROXY: {
    valid: [
      ['loopback', ['loopback']],
      ['linklocal, uniquelocal', ['linklocal', 'uniquelocal']],
      ['10.0.0.1', ['10.0.0.1']],
      ['10.0.0.0/8,fd00::/8,::1', ['10.0.0.0/8', 'fd00::/8', '::1']],
      [
        '192.0.2.1/32, 2001:db8::1/128, 128.0.0.0/1',
        ['192.0.2.1/32', '2001:db8::1/128', '128.0.0.0/1'],
      ],
      ['::ffff:10.0.0.1', ['::ffff:10.0.0.1']],
    ],
    invalid: [
      'true',
      '1',
      '*',
      'all',
      'proxy.internal',
      'Loopback',
      '10.0.0.0/33',
      '::/129',
      '0.0.0.0/0',
      '::/0',
      '10.0.0.0/00',
      '10.0.0.0/',
      '10.0.0.0/8/8',
      '10.0.0.0/255.0.0.0',
      '10.0.0',
      'fe80::1%eth0',
      'loopback/8',
      'loopback 10.0.0.1',
      'constructor',
    ],
    says: /must be addresses, subnets or loopback, linklocal, uniquelocal, comma-separated$/,
  },
  CORS_ORIGINS: {
    valid: [
      ['*', ['*']],
      [
        'https://app.example.com, http://localhost:5173',
        ['https://app.example.com', 'http://localhost:5173'],
      ],
      ['https://[::1]:8443', ['https://[::1]:8443']],
      ['https://xn--bcher-kva.example', ['https://xn--bcher-kva.example']],
    ],
    invalid: [
      'app.example.com',
      'https://app.example.com/',
      'https://app.example.com/path',
      'https://app.example.com:443',
      'HTTPS://app.example.com',
      'https://*.example.com',
      'https://user@app.example.com',
      'null',
      'file://',
      'https://',
      'https://a.example https://b.example',
      'https://a.example,b.example',
      'ftp://a.example',
      'ws://a.example',
    ],
    says: /must be origins such as https:\/\/app\.example\.com, comma-separated, or \*$/,
  },
  NODE_ENV: {
    valid: [
      ['production', 'production'],
      ['test', 'test'],
    ],
    invalid: [],
    says: /./,
  },
  EVENT_RETENTION_DAYS: {
    valid: [
      ['1', 1],
      ['36500', 36_500],
    ],
    invalid: ['0', '-1', '0.5', '36501', 'month', '30d'],
    says: /must be a whole number from 1 to 36500$/,
  },
  CONNECTIONS_MAX: streams,
  CONNECTIONS_PER_ADDRESS: streams,
  STREAMS_MAX: streams,
  STREAMS_PER_ACTOR: streams,
  ROOMS_PER_CUSTOMER: rooms,
  ROOMS_PER_MINUTE: rooms,
  ROOMS_PER_HOUR: rooms,
  STREAMS_PER_CUSTOMER: streams,
  STREAMS_PER_ADDRESS: streams,
  STREAMS_PER_ORGANISATION: streams,
  STREAMS_RESERVED: {
    valid: [
      ['0', 0],
      ['90', 90],
    ],
    invalid: ['-1', '91', '10%', '5.5'],
    says: /must be a whole number from 0 to 90$/,
  },
  RATE_LIMIT_ACTOR: limit,
  RATE_LIMIT_CUSTOMER: limit,
  RATE_LIMIT_ADDRESS: limit,
  RATE_LIMIT_FAILURES: limit,
}

function messageOf(env: Record<string, string>): string {
  try {
    readConfig(env)
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError)
    return (error as ConfigError).message
  }
  throw new Error(`${JSON.stringify(env)} was taken`)
}

test('every setting has its default', () => {
  expect(readConfig({})).toEqual(defaults)
})

test('an empty setting counts as not set, and an unknown variable is ignored', () => {
  const empty = Object.fromEntries(Object.keys(defaults).map((name) => [name, '']))
  expect(readConfig(empty)).toEqual(defaults)
  const unset = Object.fromEntries(Object.keys(defaults).map((name) => [name, undefined]))
  expect(readConfig(unset)).toEqual(defaults)
  expect(readConfig({ PATH: '/bin', NODE_ENVIRONMENT: 'x', port: '1', PORT_: 'x' })).toEqual(
    defaults,
  )
})

describe.each(Object.keys(cases) as Name[])('%s', (name) => {
  const { valid, invalid, says } = cases[name]

  test.each(valid as readonly (readonly [string, unknown])[])('accepts %j', (text, value) => {
    expect(readConfig({ [name]: text })).toEqual({ ...defaults, [name]: value })
  })

  test.skipIf(invalid.length === 0).each(invalid)('rejects %j and says what is allowed', (text) => {
    const message = messageOf({ [name]: text })
    expect(message.startsWith(`${name} must `)).toBe(true)
    expect(message).toMatch(says)
  })
})

test('rejects two signing keys with the same id', () => {
  expect(messageOf({ TOKEN_SIGNING_KEYS: `a:${secret},b:${secret},a:${url}` })).toBe(
    'TOKEN_SIGNING_KEYS must not have one id twice',
  )
})

test('one error message names every invalid setting', () => {
  const wrong = { PORT: 'a', AUTH: 'b', CORS_ORIGINS: 'c', TRUST_PROXY: 'd', LOG_LEVEL: 'e' }
  const sentences = messageOf({ ...wrong, HOST: 'localhost' }).split('; ')
  expect(sentences.map((sentence) => sentence.split(' ')[0]).sort()).toEqual(
    Object.keys(wrong).sort(),
  )
  // DATABASE_URL and NODE_ENV may be any text.
  const all = Object.fromEntries(Object.keys(defaults).map((name) => [name, '?\n']))
  expect(messageOf(all).split('; ')).toHaveLength(Object.keys(defaults).length - 2)
})

describe('a secret in a file', () => {
  const secrets = { DATABASE_URL: 'sqlite:/tmp/a.db', TOKEN_SIGNING_KEYS: `one:${secret}` }

  test.each(Object.entries(secrets))('%s_FILE has the value', async (name, text) => {
    await using folder = await createFolder()
    const file = folder.file('secret')
    const [, expected] = cases[name as keyof typeof secrets].valid[0] as [string, unknown]
    for (const content of [text, `${text}\n`, `${text}\r\n`]) {
      writeFileSync(file, content)
      const env = { [`${name}_FILE`]: file }
      expect(readConfig(env)).toEqual({ ...defaults, [name]: expected })
      expect(readConfig({ ...env, [name]: '' })).toEqual({ ...defaults, [name]: expected })
    }
  })

  test.each(Object.entries(secrets))('%s and its file together are refused', async (name, text) => {
    await using folder = await createFolder()
    const file = folder.file('secret')
    writeFileSync(file, text)
    expect(messageOf({ [name]: text, [`${name}_FILE`]: file, PORT: 'x' })).toBe(
      `PORT must be a whole number from 0 to 65535; ${name} and ${name}_FILE are both set; keep one of them`,
    )
  })

  test.each(Object.keys(secrets))(
    '%s_FILE names a file that can be read and has text',
    async (name) => {
      await using folder = await createFolder()
      const file = folder.file('secret')
      const message = () => messageOf({ [`${name}_FILE`]: file })
      expect(message()).toMatch(`${name}_FILE must name a readable file: ENOENT`)
      writeFileSync(file, ' \n')
      expect(message()).toBe(`${name}_FILE must name a file with text: ${file} is empty`)
    },
  )

  test('a file with invalid keys is refused without its text', async () => {
    await using folder = await createFolder()
    const file = folder.file('secret')
    writeFileSync(file, 'hunter2')
    expect(messageOf({ TOKEN_SIGNING_KEYS_FILE: file })).toBe(
      'TOKEN_SIGNING_KEYS must be id:secret, with 32 bytes or more in base64, comma-separated',
    )
  })
})

test('no error message repeats a secret', () => {
  const word = fc.stringMatching(/^[A-Za-z0-9+/]{12,60}$/)
  fc.assert(
    fc.property(
      word,
      fc.constantFrom('', 'id:', 'id::', ':', 'id,', 'id: ', 'a:b:'),
      fc.constantFrom('', ',', ':', '*', ', x'),
      (text, before, after) => {
        let message = ''
        try {
          readConfig({ TOKEN_SIGNING_KEYS: `${before}${text}${after}`, PORT: 'x' })
        } catch (error) {
          message = (error as Error).message
        }
        expect(message).toContain('PORT')
        expect(message).not.toContain(text)
      },
    ),
  )
  for (const database of [
    'postgres://chat:hunter2@db.internal/chat?sslmode=prefer',
    'postgres://chat:hunter2@db.internal:port/chat',
    'postgres://chat:1#hunter2@db.internal/chat',
    'postgres://chat:1/hunter2@db.internal/chat',
    'postgres://chat:1?hunter2@db.internal/chat',
    'postgres://chat:1@hunter2@db.internal/chat',
    'postgres://chat:hunter2@db.internal/chat?sslrootcert=/nowhere',
    'postgres://chat:hunter2@db.internal/chat?sslmode=verify-ca',
    'mysql://chat:hunter2@db/chat',
    'chat:hunter2@db/chat',
    'postgresql:hunter2',
    'sqlite::memory:?key=hunter2',
    'hunter2',
    ':hunter2',
  ]) {
    const config = readConfig({ DATABASE_URL: database })
    let message = ''
    try {
      createApp(config, pino({ level: 'silent' }))
    } catch (error) {
      message = (error as Error).message
    }
    expect(message, database).toMatch(
      /^DATABASE_URL must (?:be "sqlite:" and the path of a file|name a PostgreSQL server)/,
    )
    expect(message).not.toContain('hunter2')
  }
})

test('express accepts every valid TRUST_PROXY', () => {
  const part = fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    fc.ipV4Extended(),
    fc.constantFrom('loopback', 'linklocal', '0.0.0.0', '::', '1.2.3.4%a', '::ffff:1.2.3.4'),
  )
  const bits = fc.option(fc.integer({ min: -1, max: 130 }))
  const entry = fc
    .tuple(part, bits)
    .map(([address, bits]) => (bits === null ? address : `${address}/${bits}`))
  const taken = (entry: string) => {
    try {
      return readConfig({ TRUST_PROXY: entry }).TRUST_PROXY
    } catch (error) {
      expect(error).toBeInstanceOf(ConfigError)
      return []
    }
  }
  for (const [text] of cases.TRUST_PROXY.valid) express().set('trust proxy', taken(text))
  fc.assert(
    fc.property(entry, (entry) => {
      express().set('trust proxy', taken(entry))
    }),
    { numRuns: 500 },
  )
})

test('the help describes every setting with its default', () => {
  const described = describeSettings()
  expect(described.map(({ name }) => name)).toEqual(Object.keys(defaults))
  for (const { name, default: text, description } of described) {
    expect(description, name).toMatch(/^[A-Za-z].{10,}\.$/)
    expect(readConfig({ [name]: text })).toEqual(defaults)
  }
})
