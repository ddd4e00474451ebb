import { describe, expect, test } from 'vitest'
import { Credential, type CredentialOptions } from '../src/credential.ts'
import { refusal, tokenOf } from './fakes.ts'

/** A server that knows some tokens, and a credential whose requests it answers. */
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

/** Answers these tokens one after the other. */
function tokens(...list: string[]): { token: () => string; asked: () => number } {
  let asked = 0
  return { token: () => list[Math.min(asked++, list.length - 1)] as string, asked: () => asked }
}

describe('a token', () => {
  test('is asked for once and kept', async () => {
    const { token, asked } = tokens('one')
    const { seen, request } = setUp(['one'], { token })
    expect(await Promise.all([request(), request()])).toEqual([200, 200])
    expect(await request()).toBe(200)
    expect(asked()).toBe(1)
    expect(new Set(seen)).toEqual(new Set(['Bearer one']))
  })

  test('that is refused is asked for anew, once for all requests of the moment', async () => {
    const { token, asked } = tokens('old', 'new')
    const { request } = setUp(['new'], { token })
    expect(await Promise.all([request(), request(), request()])).toEqual([200, 200, 200])
    expect(asked()).toBe(2)
  })

  test('that is refused again is refused', async () => {
    const { token, asked } = tokens('old', 'as old')
    const { request } = setUp(['new'], { token })
    expect(await request()).toBe(401)
    expect(asked()).toBe(2)
  })

  test('that cannot be had fails the request, and is asked for by the next', async () => {
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
  test('that are refused are asked for anew when they come from a function', async () => {
    const { token } = tokens('old', 'new')
    const headers = () => ({ Authorization: `Bearer ${token()}` })
    const { seen, request } = setUp(['new'], { headers })
    expect(await request()).toBe(200)
    expect(seen).toEqual(['Bearer old', 'Bearer new'])
  })

  test('that never change are sent once', async () => {
    const { seen, request } = setUp([], { headers: { Authorization: 'Bearer old' } })
    expect(await request()).toBe(401)
    expect(seen).toHaveLength(1)
  })
})

describe('the identity', () => {
  async function identityOf(options: CredentialOptions): Promise<string | undefined> {
    const credential = new Credential(options)
    expect(credential.identity).toBe(undefined)
    await credential.identify()
    return credential.identity
  }

  test('is what a token says of its user, whatever else it says', async () => {
    const own = await identityOf({ token: () => tokenOf('Zoë') })
    expect(own).toBeTypeOf('string')
    expect(await identityOf({ token: async () => tokenOf('Zoë', { exp: 12 }) })).toBe(own)
    const headers = { authorization: `Bearer ${tokenOf('Zoë')}` }
    expect(await identityOf({ headers })).toBe(own)
    for (const other of [{ sub: 'Zoe' }, { org: 'OTHER' }, { side: true }, { rooms: ['a'] }]) {
      expect(await identityOf({ token: () => tokenOf('Zoë', other) })).not.toBe(own)
    }
  })

  test('is one for all who have no credential', async () => {
    expect(await identityOf({})).toBe('nobody')
    expect(await identityOf({ headers: { 'X-Request-Id': 'mine' } })).toBe('nobody')
  })

  test.each(['Bearer dck_key', 'Bearer a.b.c', 'Basic abc', 'Bearer a.e30.c', ''])(
    'is not known of "%s"',
    async (Authorization) => {
      expect(await identityOf({ headers: { Authorization } })).toBe(undefined)
    },
  )

  test('is not known where a fetch of the caller may add a credential', async () => {
    expect(await identityOf({ fetch })).toBe(undefined)
  })

  test('is told when it changes, and not when only the token does', async () => {
    const { token } = tokens(tokenOf('a'), tokenOf('a', { exp: 1 }), tokenOf('b'))
    const { credential, request } = setUp([], { token })
    let told = 0
    credential.onIdentity = () => told++
    await credential.identify()
    expect(told).toBe(1)
    await request()
    expect(told).toBe(1)
    await request()
    expect(told).toBe(2)
  })
})
