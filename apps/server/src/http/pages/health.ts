import type { Database } from '@dowell-chat/db'
import express, { type Router } from 'express'
import type { Logger } from 'pino'
import { onlyMethods } from './staticRoutes.ts'

/** `/healthz`: the process runs. `/readyz`: it takes requests, since the database answers and it is not shutting down. */
export function health(db: Database, logger: Logger, isClosing: () => boolean): Router {
  const router = express.Router()
  router.get('/healthz', (_req, res) => {
    res.json({ status: 'ok' })
  })
  router.get('/readyz', async (_req, res) => {
    if (isClosing()) {
      res.status(503).json({ status: 'unavailable', reason: 'the server is shutting down' })
      return
    }
    try {
      await db.ping()
      res.json({ status: 'ok' })
    } catch (error) {
      logger.error({ err: error }, 'the database does not answer')
      res.status(503).json({ status: 'unavailable', reason: 'the database does not answer' })
    }
  })
  router.all(['/healthz', '/readyz'], onlyMethods('GET'))
  return router
}
