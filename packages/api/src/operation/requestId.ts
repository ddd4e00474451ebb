import { AsyncLocalStorage } from 'node:async_hooks'

const storage = new AsyncLocalStorage<string>()

/**
 * Runs `work` under a request's id. tRPC formats some errors before there is a context (a broken batch, a bad URL); this
 * is how those find the id.
 */
export function withRequestId<T>(requestId: string, work: () => T): T {
  return storage.run(requestId, work)
}

export function currentRequestId(): string | undefined {
  return storage.getStore()
}
