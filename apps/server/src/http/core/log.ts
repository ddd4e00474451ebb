import { randomUUID } from 'node:crypto'
import type { Logger } from 'pino'
import { plain } from './errors.ts'
import type { Incoming, Outgoing } from './request.ts'

/** What looks like an API key or a token, or the beginning of one, should someone put theirs into a path. */
const CREDENTIAL = /dck_[\w-]+|eyJ[\w-]+\.[\w.-]*/g

/** Characters of a path that are told. It is cut first: to look through 16 kB of what begins like a token takes 40 ms. */
const TOLD = 200

/**
 * Gives each request its id and writes one line when it is answered: method, path, status, time. Never a query, a body or
 * a header, since any of them may hold what people wrote or a credential. Of an event stream the line is written at its
 * end, and says why it ended.
 */
export function requestLog(logger: Logger): (req: Incoming, res: Outgoing) => void {
  return (req, res) => {
    const { method, url = '' } = req
    const begun = performance.now()
    const given = req.headers['x-request-id']
    const id = typeof given === 'string' && /^[\w.-]{1,64}$/.test(given) ? given : randomUUID()
    const end = url.search(/[?#]/)
    const path = end < 0 ? url : url.slice(0, end)
    const query = url[end] === '?' ? url.slice(end + 1) : ''
    res.locals = { id, path, query, dress: plain, headers: [] }
    // Comes after the last byte was handed to the system, and also when the client left before.
    res.once('close', () => {
      const { failure, streamEnd } = res.locals
      // Node begins with 200, before there is an answer.
      const { headersSent } = res
      const line = {
        req: { id, method, path: path.slice(0, TOLD).replace(CREDENTIAL, '[credential]') },
        res: headersSent ? { status: res.statusCode } : {},
        responseTime: Math.round(performance.now() - begun),
        ...(streamEnd ? { streamEnd: streamEnd.reason } : {}),
      }
      if (failure) logger.error({ ...line, err: failure }, 'failed')
      else if (!headersSent) logger.warn(line, 'the client left')
      else logger[streamEnd?.isFault ? 'warn' : levelOf(res.statusCode)](line, 'answered')
    })
  }
}

function levelOf(status: number): 'info' | 'warn' | 'error' {
  if (status >= 500) return 'error'
  return status >= 400 ? 'warn' : 'info'
}
