import type { AppRouter } from '@dowell-chat/api'
import { createTRPCClient, httpBatchLink } from '@trpc/client'
import superjson from 'superjson'
import { Credential, type CredentialOptions } from './credential.ts'
import { toDowellChatError } from './error.ts'
import { thisBrowser } from './live/browser.ts'
import { createFeeds, type Feeds } from './live/feeds.ts'
import { Hub } from './live/hub.ts'
import type { CallOptions, Calls } from './types.ts'

export interface DowellChatOptions extends CredentialOptions {
  /** Where the server is, for example `https://chat.example.com`. */
  readonly url: string | URL
}

export type DowellChat = Calls & Feeds

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

/** A client for one server. Calls made in the same moment share a request, and all feeds share few connections. */
export function createDowellChat(options: DowellChatOptions): DowellChat {
  const url = String(options.url).replace(/\/+$/, '')
  const credential = new Credential(options)
  const client = createTRPCClient<AppRouter>({
    links: [
      httpBatchLink({
        url: `${url}/trpc`,
        transformer: superjson,
        maxItems: MAX_ITEMS,
        maxURLLength: MAX_URL,
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
        return await abandonable(procedure(input, { signal }), signal)
      } catch (error) {
        throw toDowellChatError(error, signal)
      }
    }
  }

  const calls: Calls = {
    createRoom: call(client.createRoom.mutate),
    getRoomById: call(client.getRoomById.query),
    deleteRoom: call(client.deleteRoom.mutate),
    updateRoom: call(client.updateRoom.mutate),
    listRooms: call(client.listRooms.query),
    createMessage: call(client.createMessage.mutate),
    updateMessage: call(client.updateMessage.mutate),
    deleteMessage: call(client.deleteMessage.mutate),
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
    getOrganisation: call(client.getOrganisation.query),
    updateOrganisation: call(client.updateOrganisation.mutate),
  }

  return { ...calls, ...createFeeds(new Hub(url, credential, thisBrowser()), calls) }
}
