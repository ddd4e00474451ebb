import { createParser } from 'eventsource-parser'
import { DowellChatError, readFailure } from '../error.ts'

/** A connection without data for this long is dead (ms). The server sends a heartbeat every 20 s. */
const SILENCE_TIMEOUT_MS = 45_000

/**
 * Reads the data of one event stream until the server ends it.
 *
 * @throws DowellChatError if the response is no event stream, the connection fails or times out, or `onData` throws; the
 *   signal's reason if it aborts
 */
export async function readStream(
  request: (signal: AbortSignal) => Promise<Response>,
  { signal, onData }: { signal: AbortSignal; onData: (data: string) => void },
): Promise<void> {
  const connection = new AbortController()
  let hasTimedOut = false
  let timer: ReturnType<typeof setTimeout> | undefined
  const restartTimer = () => {
    clearTimeout(timer)
    timer = setTimeout(() => {
      hasTimedOut = true
      connection.abort()
    }, SILENCE_TIMEOUT_MS)
  }
  try {
    restartTimer()
    const response = await request(AbortSignal.any([signal, connection.signal]))
    const reader = (await readBody(response)).getReader()
    const decoder = new TextDecoder()
    const parser = createParser({ onEvent: ({ data }) => onData(data) })
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      restartTimer()
      parser.feed(decoder.decode(value, { stream: true }))
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason
    if (hasTimedOut) throw new DowellChatError('NETWORK', 'The connection timed out')
    if (error instanceof DowellChatError) throw error
    throw new DowellChatError('NETWORK', 'The connection failed', { cause: error })
  } finally {
    clearTimeout(timer)
    connection.abort()
  }
}

/** @throws DowellChatError if the response is no event stream */
async function readBody(response: Response): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
  if (!response.ok) throw await readFailure(response)
  // A captive portal, for example, responds 200 with HTML.
  const isStream = response.headers.get('Content-Type')?.startsWith('text/event-stream')
  if (response.body && isStream) return response.body
  await response.body?.cancel()
  throw new DowellChatError('NETWORK', 'The response is not an event stream')
}
