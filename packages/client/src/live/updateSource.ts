import { StreamPool, type StreamPoolOptions } from './streamPool.ts'
import type { StreamRequest } from './streamRequest.ts'

/** Delivers updates to the readers of one tab. */
export interface UpdateSource {
  /** Reads the requests again. Call it when readers come, go, or have missed something. */
  sync(): void
  close(): void
}

export interface UpdateSourceOptions extends StreamPoolOptions {
  /** Returns the current requests of this tab. */
  readonly getRequests: () => readonly StreamRequest[]
}

/** Creates a source whose streams serve this tab only. */
export function createLocalSource({ getRequests, ...options }: UpdateSourceOptions): UpdateSource {
  const streams = new StreamPool(options)
  return { sync: () => streams.setRequests('', getRequests()), close: () => streams.close() }
}
