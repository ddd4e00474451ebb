import { describe, expectTypeOf, test } from 'vitest'
import {
  appendEvent,
  type Database,
  deleteEvents,
  findRoom,
  insertSigningKey,
  type NewEvent,
  type Session,
  type Transaction,
} from '../src/index.ts'

// tsc checks these: a line that compiles although it must not is an unused @ts-expect-error.

declare const db: Database
declare const event: NewEvent
const key = { id: 'id', secret: 'secret', created_at: 1 }

describe('outside of packages/db', () => {
  test('a session runs no SQL', () => {
    const wrong = (session: Session, tx: Transaction) => [
      // @ts-expect-error
      session.run('select 1'),
      // @ts-expect-error
      session.selectFrom('rooms'),
      // @ts-expect-error
      session.executeQuery({ sql: 'select 1', parameters: [] }),
      // @ts-expect-error
      db.read.selectFrom('rooms'),
      // @ts-expect-error
      tx.run('delete from rooms'),
      // @ts-expect-error
      tx.deleteFrom('rooms'),
    ]
    void wrong
    expectTypeOf<keyof Session>().toBeNever()
    expectTypeOf<keyof Transaction>().toBeNever()
  })

  test('no other object is a session', () => {
    // @ts-expect-error
    const session: Session = {}
    // @ts-expect-error
    const tx: Transaction = { events: [] }
    void [session, tx]
  })

  test('a read session writes nothing', () => {
    const wrong = () => [
      // @ts-expect-error
      insertSigningKey(db.read, key),
      // @ts-expect-error
      db.snapshot((session) => deleteEvents(session, { orgId: 'A', upTo: 1 })),
    ]
    void wrong
    expectTypeOf<Session>().not.toExtend<Transaction>()
  })

  test('an event is appended in a write only', () => {
    const wrong = () => [
      // @ts-expect-error
      appendEvent(db.read, event),
      // @ts-expect-error
      db.snapshot(async (session) => appendEvent(session, event)),
    ]
    void wrong
    const right = () => db.write(async (tx) => appendEvent(tx, event))
    expectTypeOf(right).returns.toEqualTypeOf<Promise<void>>()
  })

  test('a transaction reads and writes', () => {
    const right = (tx: Transaction) => [
      findRoom(tx, { orgId: 'A', roomId: 'a' }),
      insertSigningKey(tx, key),
    ]
    void right
    expectTypeOf<Transaction>().toExtend<Session>()
  })
})
