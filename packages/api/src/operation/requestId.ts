import { AsyncLocalStorage } from 'node:async_hooks'

const storage = new AsyncLocalStorage<string>()

/**
 * Runs `work` with a request's id. tRPC formats some errors, such as those of an invalid batch, before it has a context. Their
 * bodies take the id from here.
 */
export function withRequestId<T>(requestId: string, work: () => T): T {
  return storage.run(requestId, work)
}

export function currentRequestId(): string | undefined {
  return storage.getStore()
}
