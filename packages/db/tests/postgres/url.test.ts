import { describe, expect, test } from 'vitest'
import { DatabaseError, openDatabase } from '../../src/index.ts'

async function refusalOf(url: string): Promise<string> {
  try {
    await openDatabase({ url }).close()
  } catch (error) {
    expect(error).toBeInstanceOf(DatabaseError)
    expect(error).toMatchObject({ reason: 'bad-url' })
    expect((error as Error).message).not.toContain('secret')
    return (error as Error).message
  }
  return 'opened'
}

const ONE =
  'DATABASE_URL must name one PostgreSQL server, because this server does not choose between several; for a cluster, name what always leads to its primary: a proxy such as HAProxy or PgBouncer, or a virtual address'

describe('a URL that leaves the choice between servers to us is refused, with what works', () => {
  test.for([
    'postgres://chat:secret@a.example:5432,b.example:5432/chat',
    'postgresql://a.example,b.example/chat',
    'postgres://chat:secret@a.example%2Cb.example/chat',
    'postgres://chat@/chat?host=a.example,b.example',
  ])('%s', async (url) => {
    expect(await refusalOf(url)).toBe(`${ONE} (it names several hosts)`)
  })

  test.for([
    'target_session_attrs=read-write',
    'target_session_attrs=any',
    'load_balance_hosts=random',
    'hostaddr=10.0.0.1',
  ])('%s', async (parameter) => {
    const [name] = parameter.split('=')
    expect(await refusalOf(`postgres://chat:secret@a.example/chat?${parameter}`)).toBe(
      `${ONE} (the parameter ${name} has no effect)`,
    )
  })
})

test.for(['connect_timeout=5', 'sslMode=require', 'service=chat', 'keepalives=0'])(
  'a parameter without an effect is refused by its name: %s',
  async (parameter) => {
    const [name] = parameter.split('=')
    expect(await refusalOf(`postgres://chat:secret@a.example/chat?${parameter}`)).toContain(
      `the parameter ${name} is not supported; these are: sslmode, `,
    )
  },
)

test.for([
  'postgres://chat:sec%2Cret@a.example/chat',
  'postgres://chat@/chat?host=/var/run/postgresql',
  'postgres://chat:secret@[::1]:5432/chat?sslmode=disable&application_name=chat&options=-c%20geqo%3Doff',
])('a URL of one server is taken: %s', async (url) => {
  expect(await refusalOf(url)).toBe('opened')
})
