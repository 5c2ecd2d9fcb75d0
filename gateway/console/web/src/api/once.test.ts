import { afterEach, expect, test, vi } from 'vitest'
import { Problem } from './client'
import { createOnce, holds, replaceOnce } from './once'

afterEach(() => vi.unstubAllGlobals())

const answer = (status: number, body: unknown) => new Response(JSON.stringify(body), { status })

function gateway(answers: Record<string, Response | 'lost'>) {
  const asked: string[] = []
  vi.stubGlobal('fetch', async (path: string, init: { method: string }) => {
    const what = `${init.method} ${path.slice('/api/v1'.length)}`
    asked.push(what)
    const a = answers[what]
    if (!a || a === 'lost') throw new TypeError('network')
    return a
  })
  return asked
}

const cases = [
  { name: 'what the gateway adds does not count', thing: { id: 'a', name: 'A', version: 3, created_at: 'x' }, body: { id: 'a', name: 'A' }, same: true },
  { name: 'another value', thing: { id: 'a', name: 'B' }, body: { id: 'a', name: 'A' }, same: false },
  { name: 'a value that is not there', thing: { id: 'a' }, body: { id: 'a', name: 'A' }, same: false },
  { name: 'a secret is never told back', thing: { id: 'a' }, body: { id: 'a', password: 'x' }, same: true },
  { name: 'nested', thing: { modbus: { unit: 1, gap: 8 } }, body: { modbus: { unit: 1 } }, same: true },
  { name: 'nested, another', thing: { modbus: { unit: 2 } }, body: { modbus: { unit: 1 } }, same: false },
  { name: 'an instant in another form', thing: { from: '2026-01-01T00:00:00Z' }, body: { from: '2026-01-01T00:00:00.000Z' }, same: true },
  { name: 'lists in order', thing: { outlets: ['a', 'b'] }, body: { outlets: ['b', 'a'] }, same: false },
  { name: 'an empty list is none', thing: {}, body: { outlets: [] }, same: true },
]
test.each(cases)('holds: $name', ({ thing, body, same }) => expect(holds(thing, body)).toBe(same))

test('a first try only makes', async () => {
  const asked = gateway({ 'POST /sites': answer(201, { id: 'a' }) })
  expect(await createOnce('/sites', { id: 'a' }, false)).toEqual({ thing: { id: 'a' }, already: false })
  expect(asked).toEqual(['POST /sites'])
})

test('after a lost answer what stands is not made again', async () => {
  const asked = gateway({ 'GET /sites/a': answer(200, { id: 'a', name: 'A', version: 1 }) })
  expect((await createOnce('/sites', { id: 'a', name: 'A' }, true)).already).toBe(true)
  expect(asked).toEqual(['GET /sites/a'])
})

test('after a lost request it is made', async () => {
  const asked = gateway({ 'GET /sites/a': answer(404, {}), 'POST /sites': answer(201, { id: 'a' }) })
  expect((await createOnce('/sites', { id: 'a' }, true)).already).toBe(false)
  expect(asked).toEqual(['GET /sites/a', 'POST /sites'])
})

test('what somebody else made under the id is a conflict', async () => {
  gateway({ 'GET /sites/a': answer(200, { id: 'a', name: 'B' }), 'POST /sites': answer(409, { code: 'id_used', zh: '', en: '' }) })
  await expect(createOnce('/sites', { id: 'a', name: 'A' }, true)).rejects.toMatchObject({ code: 'id_used' })
})

test('a version that went on to just this is no conflict', async () => {
  gateway({ 'PUT /sites/a': answer(409, { code: 'version_changed', zh: '', en: '' }), 'GET /sites/a': answer(200, { id: 'a', name: 'A', version: 2 }) })
  expect((await replaceOnce('/sites/a', { id: 'a', name: 'A', version: 1 }, true)).already).toBe(true)
})

test('a version that somebody else made is one', async () => {
  gateway({ 'PUT /sites/a': answer(409, { code: 'version_changed', zh: '', en: '' }), 'GET /sites/a': answer(200, { id: 'a', name: 'B', version: 2 }) })
  await expect(replaceOnce('/sites/a', { id: 'a', name: 'A', version: 1 }, true)).rejects.toBeInstanceOf(Problem)
})
