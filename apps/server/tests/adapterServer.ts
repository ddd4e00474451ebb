import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { appRouter, authenticate } from '@dowell-chat/api'
import express from 'express'
import pino from 'pino'
import { createOpenApiExpressMiddleware } from 'trpc-to-openapi'
import { readConfig } from '../src/config.ts'
import { createDeps } from '../src/deps.ts'

// trpc-to-openapi's own handler on our router. A process of its own: the handler sets `coerce` on the router's schemas.

const deps = createDeps(readConfig(process.env), pino({ level: 'silent' }))
const handler = createOpenApiExpressMiddleware({
  router: appRouter,
  async createContext({ req }) {
    const { authorization } = req.headers
    return {
      deps,
      actor: authorization
        ? await authenticate(deps, authorization)
        : ({ kind: 'open', via: 'http' } as const),
      address: '127.0.0.1',
      requestId: 'adapter',
      spend: async () => undefined,
      charge: async () => undefined,
      payForReplay: async () => undefined,
    }
  },
})
const server = express().use(express.json(), handler).listen(0, '127.0.0.1')
await once(server, 'listening')
process.stdout.write(`http://127.0.0.1:${(server.address() as AddressInfo).port}/trpc\n`)
