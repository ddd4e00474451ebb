import {
  type Actor,
  AppError,
  AuthError,
  actorKey,
  authenticate,
  authenticateStream,
  type Context,
  type Deps,
  pointsOf as pointsOfCost,
  roleOf,
} from '@dowell-chat/api'
import type { ByteMeter } from '../core/body.ts'
import { type HttpRequest, type RequestCaller, valuesOf } from '../core/request.ts'
import type { PageQuota } from '../pages/staticRoutes.ts'
import { networkOf } from './address.ts'
import type { OpenMode } from './openMode.ts'
import { BODY_FACTOR, type Caller, pointsOf, type Quotas } from './quota.ts'
import { createTurns, delay, PAUSE_PER_POINT_MS } from './turns.ts'

/** The context of a call, and what a transport needs besides. */
export interface RequestContext extends Context {
  /**
   * Reads the input of a call, and charges the bytes that the meter counts. A failure costs as much as the cheapest call:
   * malformed requests are limited, too.
   */
  readonly readRequest: <T>(read: (meter: ByteMeter) => Promise<T>) => Promise<T>
}

/**
 * Authenticates a request and creates its context, for every transport.
 *
 * @param stream of an event stream, with the token that its URL may have instead of an Authorization header
 * @throws AppError UNAUTHORIZED, FORBIDDEN or TOO_MANY_REQUESTS
 */
export type CreateContext = (
  request: HttpRequest,
  stream?: { readonly token: string | undefined },
) => Promise<RequestContext>

/** Tools send the header without a credential where none is configured. */
const NO_CREDENTIAL = /^(?:bearer)?\s*$/i

export function createContextFactory(
  deps: Deps,
  quotas: Quotas,
  openMode: OpenMode,
): CreateContext {
  async function actorFromCredentials(
    { raw }: HttpRequest,
    streamToken: string | undefined,
  ): Promise<Actor> {
    // Node's `headers` silently keeps the first of several. Joined they are no valid credential.
    const sent = valuesOf(raw, 'authorization').filter((value) => !NO_CREDENTIAL.test(value))
    if (sent.length > 0 && streamToken !== undefined) {
      throw new AuthError('malformed', {
        message: 'Send an Authorization header or a stream token, not both',
      })
    }
    if (streamToken !== undefined) return authenticateStream(deps, streamToken)
    if (sent.length > 0) return authenticate(deps, sent.join(', '))
    return { kind: 'open', via: 'http' }
  }

  async function authenticateRequest(
    request: HttpRequest,
    address: string,
    streamToken: string | undefined,
  ): Promise<Actor> {
    try {
      const actor = await actorFromCredentials(request, streamToken)
      if (actor.kind === 'open') await openMode.assertAnonymousAllowed(request.raw)
      else await openMode.assertTokenAllowed(actor)
      identify(request.caller, actor)
      return actor
    } catch (error) {
      if (error instanceof AuthError) {
        request.caller.authFailure = error.failure
        if (error.actor) identify(request.caller, error.actor)
        await quotas.recordAuthFailure(request.quota, address, error)
      }
      throw error
    }
  }

  const turns = createTurns()

  return async (request, stream) => {
    const { quota } = request
    const address = networkOf(request.caller.address)
    const actor = await authenticateRequest(request, address, stream?.token)
    const caller: Caller = {
      key: actor.kind === 'open' ? address : actorKey(actor),
      address,
      isCustomer: actor.kind === 'user' && !actor.side,
    }
    const takesTurns = caller.isCustomer && !stream
    if (takesTurns) {
      await turns.enter(caller.key, request)
      assertNotAbandoned(request)
    }
    let charged = 0
    let working: Promise<void> | undefined
    const chargePoints = async (points: number) => {
      charged += points
      if (points > 0) await quotas.charge(quota, caller, points)
    }
    const charge = (bytes: number) => chargePoints(pointsOf(bytes))
    const spend = async (points: number, isRead: boolean) => {
      // Once for all calls of a batch, and after the body was read: a slow upload blocks no other call.
      if (takesTurns) {
        const size = isRead || charged > 0 ? 'perhaps large' : 'small'
        working ??= turns.work(caller.key, size, request, () => charged)
      }
      await working
      if (working) assertNotAbandoned(request)
      await quotas.consume(quota, caller, points)
    }
    return {
      deps,
      actor,
      address,
      requestId: request.id,
      spend: (cost) => spend(pointsOfCost(cost), cost === 'read'),
      charge,
      async payForReplay(bytes) {
        await charge(bytes)
        if (caller.isCustomer) await delay(pointsOf(bytes) * PAUSE_PER_POINT_MS)
        await delay(await quotas.overdrawnMs(caller))
      },
      async readRequest(read) {
        const meter: ByteMeter = { bytes: 0 }
        try {
          return await read(meter)
        } catch (error) {
          // No turn: the reply may have to wait for the rest of a slow upload.
          await quotas.consume(quota, caller, 1, error)
          throw error
        } finally {
          await chargePoints(BODY_FACTOR * pointsOf(meter.bytes))
        }
      },
    }
  }
}

/** The price of pages that need no context. */
export function createPageQuota(quotas: Quotas): PageQuota {
  const callerOf = (request: HttpRequest): Caller => {
    const address = networkOf(request.caller.address)
    return { key: address, address, isCustomer: false }
  }
  return {
    consume: (request) => quotas.consume(request.quota, callerOf(request), pointsOfCost('read')),
    charge: (request, bytes) => quotas.charge(request.quota, callerOf(request), pointsOf(bytes)),
  }
}

/** Notes for the log who calls. Never the user: the log says nothing of people. */
function identify(caller: RequestCaller, actor: Actor): void {
  caller.role = roleOf(actor)
  if (actor.kind === 'open') return
  caller.orgId = actor.orgId
  if (actor.keyId !== undefined) caller.keyId = actor.keyId
}

/** Ends the work for a client that left while its request waited. @throws AppError BAD_REQUEST */
function assertNotAbandoned(request: HttpRequest): void {
  if (request.isAbandoned()) throw new AppError('BAD_REQUEST', { message: 'The client has left' })
}
