import { findRoom, type RoomRow } from '@dowell-chat/db'
import { authorise, type ProcedureName } from '../auth/access.ts'
import type { Actor } from '../auth/actor.ts'
import type { Deps } from '../context.ts'
import { AppError } from '../errors.ts'

export function roomNotFound(): AppError {
  return new AppError('NOT_FOUND', { message: 'There is no such room' })
}

/**
 * The room, if it exists for this caller.
 *
 * @throws AppError FORBIDDEN; NOT_FOUND, in the same words for another organisation's room and for none
 */
export async function readableRoom(
  deps: Deps,
  actor: Actor,
  procedure: ProcedureName,
  roomId: string,
): Promise<RoomRow> {
  const scope = authorise(actor, procedure)
  const room = await findRoom(deps.db.read, { ...scope, roomId })
  if (!room) throw roomNotFound()
  return room
}

/** What an answer about a room and its messages depends on: with the same version it is the same. */
export function versionOf({ id, version, updated_at }: RoomRow): string {
  return `${id}.${version}.${updated_at}`
}
