import {
  type Actor,
  AppError,
  authenticate,
  type Context,
  costOf,
  type Deps,
  nameOf,
} from '@dowell-chat/api'
import type { Request, Response } from 'express'
import { networkOf } from './address.ts'
import { requestIdOf } from './errors.ts'
import type { Limits } from './limits.ts'
import type { OpenMode } from './openMode.ts'

/** Finds out who is calling and makes what the procedures know of the request. The one place for every surface. */
export type ContextOf = (req: Request, res: Response) => Promise<Context>

export function createContextOf(deps: Deps, limits: Limits, openMode: OpenMode): ContextOf {
  async function identify(req: Request, res: Response): Promise<Actor> {
    const { authorization } = req.headers
    try {
      if (authorization !== undefined) return await authenticate(deps, authorization)
      await openMode.admit(req)
      return { kind: 'open', via: 'http' }
    } catch (error) {
      if (error instanceof AppError && error.code === 'UNAUTHORIZED') {
        res.setHeader('WWW-Authenticate', 'Bearer realm="dowell-chat"')
        await limits.failed(res, networkOf(req.ip))
      }
      throw error
    }
  }

  return async (req, res) => {
    const actor = await identify(req, res)
    const address = networkOf(req.ip)
    // As JSON, because people and organisations may be called anything and must not share a budget by it.
    const caller = actor.kind === 'open' ? address : JSON.stringify([actor.orgId, nameOf(actor)])
    return {
      deps,
      actor,
      requestId: requestIdOf(res),
      spend: (procedure) => limits.spend(res, caller, address, costOf(procedure)),
    }
  }
}
