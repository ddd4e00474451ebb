import type { Inputs, Outputs } from '@dowell-chat/api'

export type { Inputs, Outputs }

export type Room = Outputs['getRoomById']
export type Message = Outputs['createMessage']['message']
export type RoomPage = Outputs['listRooms']
export type MessagePage = Outputs['getMessages']
