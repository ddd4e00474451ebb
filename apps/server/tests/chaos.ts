import { setTimeout as sleep } from 'node:timers/promises'
import type { StreamVariant, Told } from './eventReader.ts'
import { json } from './support.ts'

/** An event, as much of it as tells it from every other. */
export type Line = readonly [position: number, type: string, text: string | null]

/** Hears everything after a cursor, coming again with its last id as often as it must. */
export async function listen(
  variant: StreamVariant,
  url: string,
  input: Record<string, unknown>,
  after: string,
  heard: Line[],
  over: AbortSignal,
): Promise<void> {
  let lastEventId = after
  while (!over.aborted) {
    try {
      await using reader = await variant.open({ url }, input, { 'last-event-id': lastEventId })
      const stop = () => reader.close()
      over.addEventListener('abort', stop)
      for (let told = await reader.next(); told; told = await reader.next()) {
        if (told.type === 'reset') heard.push([told.position, 'reset', told.reason])
        lastEventId = told.cursor ?? lastEventId
        if (told.message) heard.push([told.position, told.type, told.message.messageData])
      }
      over.removeEventListener('abort', stop)
    } catch {
      // No server, or none that answers: it comes again.
    }
    await sleep(Math.random() * 100)
  }
}

/** While the server restarts, attempts fail within milliseconds and the timeout doubles with each. */
const MAX_TIMEOUT_MS = 15_000

/** Repeats a write until it gets its response. The message is stored once. */
export async function write(url: string, roomId: string, text: string): Promise<void> {
  const clientMessageId = `chaos-0123456789-${text}`
  const body = { messageData: text, side: true, author: 'writer', clientMessageId }
  for (let timeout = 2_000; ; timeout = Math.min(2 * timeout, MAX_TIMEOUT_MS)) {
    try {
      // The proxy leaves some requests without an answer. On a slow machine others take longer.
      const signal = AbortSignal.timeout(timeout)
      const answer = await fetch(`${url}/api/v3/rooms/${roomId}/messages`, {
        ...json(body),
        signal,
      })
      const { message } = (await answer.json()) as Told
      if (message?.messageData === text) return
    } catch {
      // Perhaps it was written: with the same id it is not written again.
    }
    await sleep(Math.random() * 50)
  }
}
