import { createParser } from 'eventsource-parser'
import { DowellChatError, failureOf } from '../error.ts'

/** A connection on which nothing was heard for so long is dead, in milliseconds. The server says something every 20 s. */
const SILENCE = 45_000

/**
 * Reads the data of one event stream until the server ends it.
 *
 * @throws DowellChatError for an answer that is none, and for a connection that breaks, falls silent or brings what
 *   `onData` throws at; the reason of the signal
 */
export async function readStream(
  request: (signal: AbortSignal) => Promise<Response>,
  { signal, onData }: { signal: AbortSignal; onData: (data: string) => void },
): Promise<void> {
  const connection = new AbortController()
  let isSilent = false
  let timer: ReturnType<typeof setTimeout> | undefined
  const heard = () => {
    clearTimeout(timer)
    timer = setTimeout(() => {
      isSilent = true
      connection.abort()
    }, SILENCE)
  }
  try {
    heard()
    const reader = (
      await answered(request(AbortSignal.any([signal, connection.signal])))
    ).getReader()
    const decoder = new TextDecoder()
    const parser = createParser({ onEvent: ({ data }) => onData(data) })
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      heard()
      parser.feed(decoder.decode(value, { stream: true }))
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason
    if (isSilent) throw new DowellChatError('NETWORK', 'The connection fell silent')
    if (error instanceof DowellChatError) throw error
    throw new DowellChatError('NETWORK', 'The connection broke', { cause: error })
  } finally {
    clearTimeout(timer)
    connection.abort()
  }
}

async function answered(
  request: Promise<Response>,
): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
  const response = await request
  if (!response.ok) throw await failureOf(response)
  // For example the page by which a train's network wants its terms accepted.
  const isStream = response.headers.get('Content-Type')?.startsWith('text/event-stream')
  if (response.body && isStream) return response.body
  await response.body?.cancel()
  throw new DowellChatError('NETWORK', 'The answer is no event stream')
}
