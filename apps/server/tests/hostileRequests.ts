import { METHODS } from 'node:http'
import fc from 'fast-check'
import type { Outgoing } from './http.ts'
import { multipartV2 } from './surfaces.ts'

const unknownId = '0123456789abcdef01234567'

/** Requests to every path in every wrong way, some of them right by chance. `room` is one that they may harm. */
export function hostileRequest(room: string): fc.Arbitrary<Outgoing> {
  const nasty = fc.oneof(
    fc.constantFrom(
      '',
      ' ',
      '\0',
      '\ud800',
      '\udfff\ud800',
      '__proto__',
      'constructor',
      "'; drop table rooms; --",
      '<script>',
      '../../etc/passwd',
      'true',
      'false',
      'NaN',
      '-1',
      '1e400',
      '999999999999999999999',
      'x'.repeat(300),
    ),
    fc.string({ unit: 'binary' }),
  )
  const word = fc.oneof(
    fc.constantFrom(
      'create_message',
      'get_messages',
      'get_room_by_id',
      'delete_room',
      'DOWELL12345',
      'text',
      unknownId,
      room,
    ),
    nasty,
  )
  const key = fc.oneof(
    fc.constantFrom(
      'type',
      'room_id',
      'roomId',
      'message_data',
      'messageData',
      'side',
      'auther',
      'author',
      'message_type',
      'user_id',
      'userId',
      'org_id',
      'orgId',
      'portfolio_name',
      'portfolioName',
      'product_name',
      'productName',
      'is_active',
      'isActive',
      'limit',
      'before',
      'after',
      'around',
      'client_message_id',
      'clientMessageId',
      'json',
      'meta',
      'batch',
      'input',
      '0',
      '__proto__',
      'constructor',
      'prototype',
      'toString',
    ),
    nasty,
  )
  const value: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      word,
      fc.constantFrom(null, true, false, 0, -1, 1.5, 1e308, Number.MAX_SAFE_INTEGER + 2),
      fc.array(tie('value'), { maxLength: 3 }),
      fc
        .array(fc.tuple(key, tie('value')), { maxLength: 6 })
        .map((entries) => Object.fromEntries(entries)),
    ),
  })).value
  const fields = fc
    .array(fc.tuple(key, value), { maxLength: 8 })
    .map((entries) => Object.fromEntries(entries))
  const forms = fc.array(fc.tuple(key, word), { maxLength: 8 })

  /** superjson's own notes beside the value, true or not. */
  const notes = fc.oneof(
    fc.constantFrom(
      { values: { orgId: ['Date'] } },
      { values: { orgId: ['undefined'] } },
      { values: { orgId: [['class', 'Object']] } },
      { values: { orgId: ['regexp'] } },
      { values: ['map'] },
      { values: ['set'] },
      { values: { '__proto__.x': ['set'] } },
      { values: { 'constructor.prototype.x': ['Date'] } },
      { referentialEqualities: { orgId: ['__proto__.polluted'] } },
      { referentialEqualities: [['a.b.c', 'd']] },
      { v: 1, values: 7 },
    ),
    value,
  )
  const superjson = fc.oneof(
    fields.map((json) => ({ json })),
    fc.record({ json: value, meta: notes }),
    fc.record({ json: fields, meta: notes }),
  )
  const body = fc.oneof(
    fields.map((it) => ({ type: 'application/json', body: JSON.stringify(it) })),
    value.map((it) => ({ type: 'application/json', body: JSON.stringify(it) })),
    superjson.map((it) => ({ type: 'application/json', body: JSON.stringify(it) })),
    fc.array(superjson, { maxLength: 4 }).map((calls) => ({
      type: 'application/json',
      body: JSON.stringify({ ...calls }),
    })),
    forms.map((it) => ({
      type: 'application/x-www-form-urlencoded',
      body: new URLSearchParams(
        it.map(([name, text]) => [name, text] as [string, string]),
      ).toString(),
    })),
    forms.map((it) => ({
      type: 'multipart/form-data; boundary=between',
      body: multipartV2(Object.fromEntries(it)).body,
    })),
    fc.uint8Array({ maxLength: 200 }).map((bytes) => ({ body: Buffer.from(bytes) })),
    fc.constant({}),
  ) as fc.Arbitrary<{ type?: string; body?: string | Buffer }>

  const segment = fc.oneof(
    fc.constantFrom('rooms', 'messages', unknownId, 'createRoom', 'nothing', '..', '.', '%2e%2e'),
    fc.constantFrom('%', '%zz', '%00', '%ff', '%2f', '%5c', '\\', ';', '@', '{roomId}', ','),
    fc.string({ maxLength: 10 }).map((text) => encodeURIComponent(text.toWellFormed())),
  )
  const call = fc.constantFrom(
    'createRoom',
    'createMessage',
    'getMessages',
    'getRoomById',
    'deleteRoom',
    'listRooms',
    'nothing',
    '__proto__',
  )
  const path = fc.oneof(
    fc.constantFrom(
      '/api/v2/room-service/',
      '/api/v2/room-service',
      '/api/v2/room-control/',
      '/api/v2/room-list/',
      '/api/v3/rooms',
      '/api/v3/rooms/',
      `/api/v3/rooms/${unknownId}`,
      `/api/v3/rooms/${unknownId}/messages`,
      `/api/v3/rooms/${room}`,
      `/api/v3/rooms/${room}/messages`,
      '/healthz',
      '/readyz',
      '/openapi.json',
      '/docs',
      '/docs/assets/swagger-ui.css',
      '/',
    ),
    call.map((name) => `/trpc/${name}`),
    fc.array(call, { minLength: 1, maxLength: 4 }).map((names) => `/trpc/${names}?batch=1`),
    fc
      .tuple(
        fc.constantFrom('/api/v2/', '/api/v3/', '/api/v3/rooms/', '/trpc/', '/docs/assets/', '/'),
        fc.array(segment, { maxLength: 4 }),
      )
      .map(([prefix, segments]) => prefix + segments.join('/')),
  )
  const query = fc.oneof(
    fc.constant(''),
    forms.map((it) =>
      it
        .map((pair) => pair.map((text) => encodeURIComponent(text.toWellFormed())).join('='))
        .join('&'),
    ),
    superjson.map((it) => `input=${encodeURIComponent(JSON.stringify(it))}`),
    fc.constantFrom(
      '%',
      '%ff=%fe',
      '&&&=',
      'input=%',
      'input=1',
      'connectionParams=%7B',
      'batch=2',
    ),
  )
  const header = fc.constantFrom<Record<string, string>>(
    {},
    {},
    {},
    { 'Content-Type': 'application/json; charset=utf-16' },
    { 'Content-Type': 'application/json; charset=klingon' },
    { 'Content-Type': 'text/plain' },
    { 'Content-Encoding': 'gzip' },
    { 'Content-Encoding': 'br' },
    { 'Content-Encoding': 'nonsense' },
    { Accept: 'application/jsonl' },
    { 'trpc-accept': 'application/jsonl' },
    { 'Last-Event-ID': '1' },
    { 'X-Request-Id': 'x'.repeat(100) },
    { Range: 'bytes=9999999999-' },
    { 'If-Match': '"nothing"' },
    { Upgrade: 'websocket', Connection: 'Upgrade' },
    { Expect: 'nothing' },
  )
  const method = fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom('GET', 'POST', 'DELETE') },
    { weight: 1, arbitrary: fc.constantFrom(...METHODS.filter((name) => name !== 'CONNECT')) },
  )
  return fc
    .record({ method, path, query, body, header, chunked: fc.boolean() })
    .map(({ method, path, query, body: { type, body }, header, chunked }) => ({
      method,
      path: query ? `${path}${path.includes('?') ? '&' : '?'}${query}` : path,
      headers: { ...(type ? { 'Content-Type': type } : {}), ...header },
      body,
      chunked,
    }))
}
