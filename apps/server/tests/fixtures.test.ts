import { operationNames } from '@dowell-chat/api'
import { describe, expect, test } from 'vitest'
import { fixtures, inputKeys, inputKeysOf, type RowIds } from './fixtures.ts'

const FILE = 'apps/server/tests/fixtures.ts'

function idsOf(letter: string): RowIds {
  const id = (digit: string) => (letter + digit).repeat(12)
  return { org: letter, room: id('1'), message: id('2'), key: id('3') }
}

/** Whether some input has the key and, for the id of a row, another value with other rows. */
function uses(
  key: string,
  inputsOf: (ids: RowIds) => Record<string, unknown>[],
  kind: 'id' | 'selector',
): boolean {
  const values = (ids: RowIds) => inputsOf(ids).map((input) => input[key])
  const [some, others] = [values(idsOf('a')), values(idsOf('b'))]
  return some.some(
    (value, at) => value !== undefined && (kind === 'selector' || `${value}` !== `${others[at]}`),
  )
}

describe.each(operationNames)('the fixture of %s', (name) => {
  const fixture = fixtures[name]
  const keys = inputKeysOf(name)
  const sender = { side: true, author: 'author' }
  const own = { id: 'own', elsewhere: 'c1'.repeat(12) }

  test('names a row with every key that can', () => {
    const missing = keys.filter((key) => {
      const kind = inputKeys[key]
      return kind !== 'value' && !uses(key, (ids) => fixture.rowInputs(ids, sender), kind)
    })
    expect(missing, `add inputs with these keys to ${name}.rowInputs in ${FILE}`).toEqual([])
  })

  test("names a row inside of the caller's own with every key that can", () => {
    const ids = keys.filter((key) => inputKeys[key] === 'id')
    const outer = (['orgId', 'roomId', 'keyId'] as const).find((key) => ids.includes(key))
    const unread: readonly string[] = fixture.unread ?? []
    const missing = ids.filter(
      (key) =>
        key !== outer &&
        !unread.includes(key) &&
        !uses(key, (rows) => fixture.rowInputsInOwn?.(rows, own) ?? [], 'id'),
    )
    expect(missing, `add inputs with these keys to ${name}.rowInputsInOwn in ${FILE}`).toEqual([])
  })
})
