import { describe, expect, test } from 'vitest'
import { Credential, type CredentialOptions } from '../src/credential.ts'
import { refusal, tokenOf } from './fakes.ts'

/** Creates a credential for a server that accepts some tokens. */
function setUp(valid: string[], options: CredentialOptions) {
  const seen: (string | null)[] = []
  const credential = new Credential({
    fetch: async (_input, init) => {
      const authorization = new Headers(init?.headers).get('Authorization')
      seen.push(authorization)
      return valid.includes(authorization?.replace('Bearer ', '') ?? '')
        ? new Response('here')
        : refusal(401, 'UNAUTHORIZED')
    },
    ...options,
  })
  const request = async () => (await credential.fetch('http://chat.test/')).status
  return { seen, credential, request }
}

/** Creates a token function that returns these tokens in turn. */
function createTokens(...list: string[]): { token: () => string; calls: () => number } {
  let calls = 0
  return { token: () => list[Math.min(calls++, list.length - 1)] as string, calls: () => calls }
}

describe('a token', () => {
  test('is requested once and reused', async () => {
    const { token, calls } = createTokens('one')
    const { seen, request } = setUp(['one'], { token })
    expect(await Promise.all([request(), request()])).toEqual([200, 200])
    expect(await request()).toBe(200)
    expect(calls()).toBe(1)
    expect(new Set(seen)).toEqual(new Set(['Bearer one']))
  })

  test('that is refused is renewed once for all concurrent requests', async () => {
    const { token, calls } = createTokens('old', 'new')
    const { request } = setUp(['new'], { token })
    expect(await Promise.all([request(), request(), request()])).toEqual([200, 200, 200])
    expect(calls()).toBe(2)
  })

  test('that is refused after its renewal is not renewed again', async () => {
    const { token, calls } = createTokens('old', 'as old')
    const { request } = setUp(['new'], { token })
    expect(await request()).toBe(401)
    expect(calls()).toBe(2)
  })

  test('that cannot be fetched fails the request, and is requested again by the next', async () => {
    let isDown = true
    const { request } = setUp(['one'], {
      token: async () => {
        if (isDown) throw new Error('the back end is down')
        return 'one'
      },
    })
    await expect(request()).rejects.toMatchObject({
      code: 'NETWORK',
      cause: new Error('the back end is down'),
    })
    isDown = false
    expect(await request()).toBe(200)
  })
})

describe('headers', () => {
  test('from a function are requested again after a 401', async () => {
    const { token } = createTokens('old', 'new')
    const headers = () => ({ Authorization: `Bearer ${token()}` })
    const { seen, request } = setUp(['new'], { headers })
    expect(await request()).toBe(200)
    expect(seen).toEqual(['Bearer old', 'Bearer new'])
  })

  test('that are fixed are sent once', async () => {
    const { seen, request } = setUp([], { headers: { Authorization: 'Bearer old' } })
    expect(await request()).toBe(401)
    expect(seen).toHaveLength(1)
  })
})

describe('the identity', () => {
  async function identityOf(options: CredentialOptions): Promise<string | undefined> {
    const credential = new Credential(options)
    expect(credential.identity).toBe(undefined)
    await credential.resolveIdentity()
    return credential.identity
  }

  test('depends on the user in the token, and on no other claim', async () => {
    const own = await identityOf({ token: () => tokenOf('Zoë') })
    expect(own).toBeTypeOf('string')
    expect(await identityOf({ token: async () => tokenOf('Zoë', { exp: 12 }) })).toBe(own)
    const headers = { authorization: `Bearer ${tokenOf('Zoë')}` }
    expect(await identityOf({ headers })).toBe(own)
    for (const other of [{ sub: 'Zoe' }, { org: 'OTHER' }, { side: true }, { rooms: ['a'] }]) {
      expect(await identityOf({ token: () => tokenOf('Zoë', other) })).not.toBe(own)
    }
  })

  test('is the same for all requests without a credential', async () => {
    expect(await identityOf({})).toBe('anonymous')
    expect(await identityOf({ headers: { 'X-Request-Id': 'mine' } })).toBe('anonymous')
  })

  test.each(['Bearer dck_key', 'Bearer a.b.c', 'Basic abc', 'Bearer a.e30.c', ''])(
    'is unknown for "%s"',
    async (Authorization) => {
      expect(await identityOf({ headers: { Authorization } })).toBe(undefined)
    },
  )

  test('is unknown with a custom fetch, which may add a credential', async () => {
    expect(await identityOf({ fetch })).toBe(undefined)
  })

  test('is reported when it changes, and not when only the token does', async () => {
    const { token } = createTokens(tokenOf('a'), tokenOf('a', { exp: 1 }), tokenOf('b'))
    const { credential, request } = setUp([], { token })
    let changes = 0
    credential.onIdentityChange = () => changes++
    await credential.resolveIdentity()
    expect(changes).toBe(1)
    await request()
    expect(changes).toBe(1)
    await request()
    expect(changes).toBe(2)
  })
})
