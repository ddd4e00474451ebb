import type { AppRouter, CallName } from '@dowell-chat/api'
import { createTRPCClient, httpBatchLink } from '@trpc/client'
import superjson from 'superjson'
import { toDowellChatError } from './error.ts'
import type { Inputs, Outputs } from './types.ts'

type Headers = Record<string, string>

export interface DowellChatOptions {
  /** Where the server is, for example `https://chat.example.com`. */
  readonly url: string | URL
  /** Headers for every request, or a function that is asked before each. */
  readonly headers?: Headers | (() => Headers | Promise<Headers>)
  /** Stands in for the global fetch. */
  readonly fetch?: typeof fetch
}

export interface CallOptions {
  /** Abandons the call. What the server has begun it may still finish. */
  readonly signal?: AbortSignal
}

/** The procedures by their flat names. Every call rejects with a {@link DowellChatError}. */
export type DowellChat = {
  readonly [Name in CallName]: (
    input: Inputs[Name],
    options?: CallOptions,
  ) => Promise<Outputs[Name]>
}

/** Calls that may share one HTTP request; the server takes up to 50. */
const MAX_ITEMS = 20

/** Characters that the URL of reads which share a request may have; the server takes up to 8,192. */
const MAX_URL = 8_000

/** Rejects as soon as the signal says so. A request that other calls share goes on without this one. */
async function abandonable<Output>(call: Promise<Output>, signal: AbortSignal): Promise<Output> {
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

/** A client for one server. Calls made in the same moment share a request. */
export function createDowellChat(options: DowellChatOptions): DowellChat {
  const { headers } = options
  const client = createTRPCClient<AppRouter>({
    links: [
      httpBatchLink({
        url: `${String(options.url).replace(/\/+$/, '')}/trpc`,
        transformer: superjson,
        maxItems: MAX_ITEMS,
        maxURLLength: MAX_URL,
        ...(options.fetch ? { fetch: options.fetch as never } : {}),
        ...(headers ? { headers } : {}),
      }),
    ],
  })

  function call<Input, Output>(
    procedure: (input: Input, options: { signal?: AbortSignal }) => Promise<Output>,
  ) {
    return async (input: Input, { signal }: CallOptions = {}): Promise<Output> => {
      try {
        if (!signal) return await procedure(input, {})
        return await abandonable(procedure(input, { signal }), signal)
      } catch (error) {
        throw toDowellChatError(error, signal)
      }
    }
  }

  return {
    createRoom: call(client.createRoom.mutate),
    getRoomById: call(client.getRoomById.query),
    deleteRoom: call(client.deleteRoom.mutate),
    listRooms: call(client.listRooms.query),
    createMessage: call(client.createMessage.mutate),
    getMessages: call(client.getMessages.query),
    getRoomSnapshot: call(client.getRoomSnapshot.query),
    markRead: call(client.markRead.mutate),
    listEvents: call(client.listEvents.query),
    createStreamToken: call(client.createStreamToken.mutate),
    setTyping: call(client.setTyping.mutate),
    createUserToken: call(client.createUserToken.mutate),
    createApiKey: call(client.createApiKey.mutate),
    listApiKeys: call(client.listApiKeys.query),
    revokeApiKey: call(client.revokeApiKey.mutate),
    listAuditEvents: call(client.listAuditEvents.query),
  }
}
