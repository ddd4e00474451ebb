import {
  type Actor,
  AppError,
  authenticate,
  authenticateStream,
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

/** What a surface knows of a request, more than the procedures need. */
export interface RequestContext extends Context {
  /**
   * Reads what a call needs. What cannot become a call costs as much as the cheapest one, so that nobody sends it without
   * end.
   */
  readonly reading: <T>(read: () => Promise<T>) => Promise<T>
}

/**
 * Finds out who is calling and makes what the procedures know of the request. The one place for every surface.
 *
 * @param streamToken what an event stream's URL has in place of an Authorization header
 */
export type ContextOf = (
  req: Request,
  res: Response,
  streamToken?: string,
) => Promise<RequestContext>

export function createContextOf(deps: Deps, limits: Limits, openMode: OpenMode): ContextOf {
  async function credited(req: Request, streamToken: string | undefined): Promise<Actor> {
    // Node's `headers` keeps the first of several and drops the rest without a word; together they are no credential.
    const { authorization } = req.headersDistinct
    if (authorization !== undefined && streamToken !== undefined) {
      throw new AppError('UNAUTHORIZED', {
        message: 'Send an Authorization header or a stream token, not both',
      })
    }
    if (streamToken !== undefined) return authenticateStream(deps, streamToken)
    if (authorization !== undefined) return authenticate(deps, authorization.join(', '))
    return { kind: 'open', via: 'http' }
  }

  async function identify(
    req: Request,
    res: Response,
    streamToken: string | undefined,
  ): Promise<Actor> {
    try {
      const actor = await credited(req, streamToken)
      if (actor.kind === 'open') await openMode.admit(req)
      else await openMode.admitHolder(actor)
      return actor
    } catch (error) {
      if (error instanceof AppError && error.code === 'UNAUTHORIZED') {
        res.setHeader('WWW-Authenticate', 'Bearer realm="dowell-chat"')
        await limits.failed(res, networkOf(req.ip))
      }
      throw error
    }
  }

  return async (req, res, streamToken) => {
    const actor = await identify(req, res, streamToken)
    const address = networkOf(req.ip)
    const caller = actor.kind === 'open' ? address : budgetOf(actor)
    const spend = (points: number) => limits.spend(res, caller, address, points)
    return {
      deps,
      actor,
      requestId: requestIdOf(res),
      spend: (procedure) => spend(costOf(procedure)),
      async reading(read) {
        try {
          return await read()
        } catch (error) {
          await spend(1)
          throw error
        }
      },
    }
  }
}

/** Whose budget a credential draws on. No two callers share one, whatever signs their names are made of. */
function budgetOf(actor: Exclude<Actor, { kind: 'open' }>): string {
  return JSON.stringify([actor.orgId, nameOf(actor), actor.kind === 'user' && actor.side])
}
