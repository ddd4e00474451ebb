import { AppError } from '@dowell-chat/api'
import type { RequestHandler } from 'express'
import { sendError } from './errors.ts'

const MAX_URL = 8_192

/** `GET http://name/path`, as clients ask a proxy: the name in it counts, and not the Host header's (RFC 9112, 3.2.2). */
export const originForm: RequestHandler = (req, _res, next) => {
  const [, host, path] = /^https?:\/\/([^/?#]*)(.*)$/i.exec(req.url) ?? []
  if (host !== undefined && path !== undefined) {
    req.headers.host = host
    req.url = path.startsWith('/') ? path : `/${path}`
    req.originalUrl = req.url
  }
  next()
}

/** Refuses what no surface need look at. */
export const wellFormed: RequestHandler = (req, res, next) => {
  const hosts = req.headersDistinct.host?.length ?? 0
  if (req.originalUrl.length > MAX_URL) sendError(res, new AppError('URI_TOO_LONG'))
  // RFC 9112, 3.2. Before HTTP/1.1 there was no Host.
  else if (hosts > 1 || (hosts === 0 && req.httpVersion !== '1.0') || !isHost(req.headers.host)) {
    sendError(res, new AppError('BAD_REQUEST', { message: 'A request has one Host, a name' }))
  } else next()
}

/** A name with or without a port, and nothing around it; empty or left out is for those to judge who care. */
function isHost(host = ''): boolean {
  return host === '' || (/^[^\s@/\\?#,]+$/.test(host) && URL.canParse(`http://${host}`))
}
