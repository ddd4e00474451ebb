import {
  type Actor,
  AppError,
  actorKey,
  authenticate,
  authenticateStream,
  type Context,
  costOf,
  type Deps,
  isRead,
} from '@dowell-chat/api'
import { type Incoming, type Outgoing, valuesOf } from '../core/request.ts'
import { networkOf, type Proxies } from './address.ts'
import type { OpenMode } from './openMode.ts'
import { BODY_FACTOR, type Caller, type Limits, pointsOf } from './quota.ts'
import { createTurns, delay, PAUSE_PER_POINT_MS } from './turns.ts'

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
 * @param stream of an event stream, with the token that its URL may have in place of an Authorization header
 */
export type ContextOf = (
  req: Incoming,
  res: Outgoing,
  stream?: { readonly token: string | undefined },
) => Promise<RequestContext>

export function createContextOf(
  deps: Deps,
  limits: Limits,
  openMode: OpenMode,
  proxies: Proxies,
): ContextOf {
  async function credited(req: Incoming, streamToken: string | undefined): Promise<Actor> {
    // Node's `headers` keeps the first of several and drops the rest without a word; together they are no credential.
    const given = valuesOf(req, 'authorization')
    if (given.length > 0 && streamToken !== undefined) {
      throw new AppError('UNAUTHORIZED', {
        message: 'Send an Authorization header or a stream token, not both',
      })
    }
    if (streamToken !== undefined) return authenticateStream(deps, streamToken)
    if (given.length > 0) return authenticate(deps, given.join(', '))
    return { kind: 'open', via: 'http' }
  }

  async function identify(
    req: Incoming,
    res: Outgoing,
    address: string,
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
        await limits.failed(res, address)
      }
      throw error
    }
  }

  const turns = createTurns()

  return async (req, res, stream) => {
    const address = networkOf(proxies.callerOf(req))
    const actor = await identify(req, res, address, stream?.token)
    const caller: Caller = {
      key: actor.kind === 'open' ? address : actorKey(actor),
      address,
      isCustomer: actor.kind === 'user' && !actor.side,
    }
    const takesTurns = caller.isCustomer && !stream
    if (takesTurns) {
      await turns.enter(caller.key, res)
      refuseAbandoned(res)
    }
    let charged = 0
    let working: Promise<void> | undefined
    const chargePoints = async (points: number) => {
      charged += points
      if (points > 0) await limits.charge(res, caller, points)
    }
    const charge = (bytes: number) => chargePoints(pointsOf(bytes))
    const spend = async (points: number, isRead: boolean) => {
      // Once for all calls of a batch, and after the body was read: a slow upload holds nothing up.
      if (takesTurns) {
        const size = isRead || charged > 0 ? 'perhaps large' : 'small'
        working ??= turns.work(caller.key, size, res, () => charged)
      }
      await working
      if (working) refuseAbandoned(res)
      await limits.spend(res, caller, points)
    }
    return {
      deps,
      actor,
      address,
      requestId: res.locals.id,
      spend: (procedure) => spend(costOf(procedure), isRead(procedure)),
      charge,
      async payForReplay(bytes) {
        await charge(bytes)
        if (caller.isCustomer) await delay(pointsOf(bytes) * PAUSE_PER_POINT_MS)
        await delay(await limits.overdrawnFor(caller))
      },
      async reading(read) {
        try {
          return await read()
        } catch (error) {
          // No turn: the answer may have to wait for the rest of a slow upload.
          await limits.spend(res, caller, 1)
          throw error
        } finally {
          await chargePoints(BODY_FACTOR * pointsOf(res.locals.received ?? 0))
        }
      },
    }
  }
}

/** Whoever has left while waiting need not be served. @throws AppError BAD_REQUEST */
function refuseAbandoned(res: Outgoing): void {
  if (res.closed || res.destroyed) {
    throw new AppError('BAD_REQUEST', { message: 'The client has left' })
  }
}
