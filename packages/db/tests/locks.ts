import pg from 'pg'

/** A lock of another session, as an operator in psql holds it. */
export interface HeldLock extends AsyncDisposable {
  release(): Promise<void>
}

/** Locks rows in a transaction that stays idle until it is released. */
export async function holdLock(url: string, statement: string): Promise<HeldLock> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query(`begin; ${statement}`)
  let released: Promise<void> | undefined
  const release = () => {
    released ??= client.end()
    return released
  }
  return { release, [Symbol.asyncDispose]: release }
}
