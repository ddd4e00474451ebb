import type { NewEvent } from '../tables.ts'
import { type Connection, Session } from './session.ts'

/** A row that writes wait for: by its name, or by a symbol if no query announced it. */
export type LockKey = string | symbol

/** Called before a statement locks a row. Throws if another transaction is known to hold the lock. */
export type BeforeLock = (key: string) => void

export type CommitHook = () => void

/** The state that a transaction collects until its commit. */
export interface TransactionState {
  readonly events: NewEvent[]
  readonly commitHooks: CommitHook[]
  /** True once a statement has deleted or replaced text. */
  removesText: boolean
  /** Undefined where a transaction holds the only lock from its beginning. */
  readonly beforeLock: BeforeLock | undefined
  /** False once its job has ended: an event appended later would be lost without an error. */
  isOpen: boolean
}

/** Runs the reads and writes of one job. They are committed together or not at all. */
export class Transaction extends Session {
  readonly #state: TransactionState

  constructor(connection: Connection, beforeLock?: BeforeLock) {
    super(connection)
    this.#state = { events: [], commitHooks: [], removesText: false, beforeLock, isOpen: true }
  }

  static stateOf(tx: Transaction): TransactionState {
    return tx.#state
  }
}

export const stateOf = Transaction.stateOf

/**
 * Appends to the event log in the transaction of the change itself. Events get their positions after all writes that share
 * the commit, so the lock on the organisation's log is held as briefly as possible.
 */
export function appendEvent(tx: Transaction, event: NewEvent): void {
  openStateOf(tx, 'events are appended in a write').events.push(event)
}

/** Calls `hook` after the commit. A rollback drops it; what it throws becomes a process warning. */
export function afterCommit(tx: Transaction, hook: CommitHook): void {
  openStateOf(tx, 'commit hooks are added in a write').commitHooks.push(hook)
}

function openStateOf(tx: Transaction, message: string): TransactionState {
  if (!(tx instanceof Transaction) || !stateOf(tx).isOpen) throw new Error(message)
  return stateOf(tx)
}

/** Marks the transaction of a statement that deletes or replaces text: see `Engine.cleanLog`. */
export function noteRemovedText(session: Session): void {
  if (session instanceof Transaction) stateOf(session).removesText = true
}

/**
 * Names the row that the next statement locks. If that lock times out, the queue knows which writes need the same row and
 * separates them from the others.
 */
export function announceLock(tx: Transaction, key: string): void {
  stateOf(tx).beforeLock?.(key)
}
