import type { AppRouter, CallName } from '@dowell-chat/api'
import { createTRPCClient, httpBatchLink } from '@trpc/client'
import superjson from 'superjson'
import { Credential, type CredentialOptions } from './credential.ts'
import { toDowellChatError } from './error.ts'
import { detectBrowser } from './live/browser.ts'
import { FeedManager } from './live/feedManager.ts'
import { createFeeds, type Feeds } from './live/feeds.ts'
import { operationKinds } from './operationKinds.ts'
import type { CallOptions, Calls } from './types.ts'

/** Options of {@link createDowellChat}. */
export interface DowellChatOptions extends CredentialOptions {
  /** The server's base URL, for example `https://chat.example.com`. */
  readonly url: string | URL
}

/** A client for one server: its operations as methods, and feeds of live events. */
export type DowellChat = Calls & Feeds

// A method that is missing does not compile: `npm run build` writes the list.
operationKinds satisfies Record<CallName, string>

/** Calls per batch; the server accepts 50. */
const MAX_BATCH_CALLS = 20

/** Characters in the URL of a batch of queries; the server accepts 8,192. */
const MAX_URL_LENGTH = 8_000

/** Rejects with the signal's reason when it aborts, without cancelling a batch that other calls share. */
async function withAbort<Output>(call: Promise<Output>, signal: AbortSignal): Promise<Output> {
  let abort = () => {}
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason)
  })
  signal.addEventListener('abort', abort)
  try {
    return await Promise.race([call, aborted])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

/**
 * Creates a client for one server. Calls of one event-loop turn share an HTTP request; feeds share a connection where they
 * can, also across browser tabs.
 */
export function createDowellChat(options: DowellChatOptions): DowellChat {
  const url = String(options.url).replace(/\/+$/, '')
  const credential = new Credential(options)
  const client = createTRPCClient<AppRouter>({
    links: [
      httpBatchLink({
        url: `${url}/trpc`,
        transformer: superjson,
        maxItems: MAX_BATCH_CALLS,
        maxURLLength: MAX_URL_LENGTH,
        fetch: credential.fetch as never,
      }),
    ],
  })

  function call<Input, Output>(
    procedure: (input: Input, options: { signal?: AbortSignal }) => Promise<Output>,
  ) {
    return async (input: Input, { signal }: CallOptions = {}): Promise<Output> => {
      try {
        if (!signal) return await procedure(input, {})
        return await withAbort(procedure(input, { signal }), signal)
      } catch (error) {
        throw toDowellChatError(error, signal)
      }
    }
  }

  const calls = Object.fromEntries(
    Object.entries(operationKinds).map(([name, kind]) => [
      name,
      call((client as unknown as Record<string, Record<string, never>>)[name]?.[kind] as never),
    ]),
  ) as unknown as Calls

  const manager = new FeedManager(url, credential, detectBrowser(), (streamId) => {
    // The next heartbeat repeats a failed one.
    calls.sendHeartbeat({ streamId }).catch(() => undefined)
  })
  return { ...calls, ...createFeeds(manager, calls) }
}
