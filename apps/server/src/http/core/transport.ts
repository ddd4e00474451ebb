import type { ErrorFormat } from './errors.ts'
import type { Reply } from './reply.ts'
import type { HttpRequest } from './request.ts'

/** Answers a request, or throws what went wrong. */
export type Serve = (request: HttpRequest) => Promise<Reply>

/** One way to call the API over HTTP. */
export interface Transport {
  readonly serve: Serve
  readonly errorFormat: ErrorFormat
}
