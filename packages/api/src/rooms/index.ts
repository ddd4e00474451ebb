import { createRoomProcedure } from './createRoom.ts'
import { deleteRoomProcedure } from './deleteRoom.ts'
import { getRoomByIdProcedure } from './getRoomById.ts'
import { listRoomsProcedure } from './listRooms.ts'
import { updateRoomProcedure } from './updateRoom.ts'

export const roomProcedures = {
  createRoom: createRoomProcedure,
  getRoomById: getRoomByIdProcedure,
  deleteRoom: deleteRoomProcedure,
  updateRoom: updateRoomProcedure,
  listRooms: listRoomsProcedure,
}
