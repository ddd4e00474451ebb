import type { RoomRow } from '@dowell-chat/db'

/** The columns of a room by which streams are filtered. */
export interface RoomRef {
  readonly id: string
  readonly orgId: string
  readonly userId: string
  readonly productName: string
}

export function toRoomRef(row: RoomRow): RoomRef {
  return { id: row.id, orgId: row.org_id, userId: row.user_id, productName: row.product_name }
}

/** The events of an organisation that a stream sends. The caller is authorised for all of them. */
export interface StreamFilter {
  readonly orgId: string
  /** Only these rooms, each visible to the caller. */
  readonly rooms?: readonly RoomRef[] | undefined
  readonly userId?: string | undefined
  readonly productName?: string | undefined
}

/** Whether a room of the filter's organisation has the user and the product of the filter. */
export function isInFilter(
  { userId, productName }: Pick<StreamFilter, 'userId' | 'productName'>,
  room: RoomRef,
): boolean {
  return (
    (userId === undefined || userId === room.userId) &&
    (productName === undefined || productName === room.productName)
  )
}
