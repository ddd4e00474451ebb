import { findRoom, type RoomRow } from '@dowell-chat/db'
import { type Actor, scopeOf } from '../auth/actor.ts'
import type { Deps } from '../context.ts'
import { AppError } from '../errors.ts'

export function roomNotFound(): AppError {
  return new AppError('NOT_FOUND', { message: 'There is no such room' })
}

/** The room, if this caller may see it. @throws AppError NOT_FOUND, also for another organisation's room */
export async function readableRoom(deps: Deps, actor: Actor, roomId: string): Promise<RoomRow> {
  const room = await findRoom(deps.db.read, { orgId: scopeOf(actor), roomId })
  if (!room) throw roomNotFound()
  return room
}
