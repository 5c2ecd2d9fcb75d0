import { afterEach, expect, test, vi } from 'vitest'
import type { Lists, Things } from '../stores/registry'
import { move, movesOf, successor } from './swap'

const meta = { version: 2, created_at: '2026-01-01T00:00:00Z', updated_at: '2026-01-01T00:00:00Z' }
const binding = (id: string, point: string, more: object = {}): Things['bindings'] => ({
  id, point, device: 'old', from: '2026-01-01T00:00:00Z', register: { table: 'holding', address: 3, type: 'uint16' }, scale: 0.1, ...more, ...meta,
})
const now = '2026-05-01T00:00:00.000Z'
const lists = { entities: [], sites: [], outlets: [], points: [], devices: [], bindings: [binding('gate-pm10', 'gate.pm10')], cameras: [], limits: [] } as Lists
afterEach(() => vi.unstubAllGlobals())

test('bindings that have ended stay where they are', () => {
  const held = [binding('a', 'gate.pm10'), binding('b', 'gate.pm25', { to: '2026-02-01T00:00:00Z' }), binding('c', 'gate.tsp', { device: 'other' })]
  expect(movesOf('old', held, Date.parse(now)).map((m) => m.old.id)).toEqual(['a'])
})

test('a successor has the same point, address and set points, and begins', () => {
  expect(successor(binding('a', 'gate.pm10', { to: now, write: { low: 0, high: 100 } }), 'new', now, 'a-2')).toEqual({
    id: 'a-2', point: 'gate.pm10', device: 'new', from: now, register: { table: 'holding', address: 3, type: 'uint16' }, scale: 0.1, write: { low: 0, high: 100 },
  })
})

const steps = [
  { name: 'the successor does not arrive', lost: 'POST', stored: false },
  { name: 'the successor arrives, its answer does not', lost: 'POST', stored: true },
  { name: 'the end does not arrive', lost: 'PUT', stored: false },
  { name: 'the end arrives, its answer does not', lost: 'PUT', stored: true },
]
test.each(steps)('a swap that the network broke goes on without a gap and twice nothing: $name', async ({ lost, stored }) => {
  const things = new Map<string, Things['bindings']>(lists.bindings.map((b) => [b.id, b]))
  const done: string[] = []
  let broken = true
  vi.stubGlobal('fetch', async (path: string, init: { method: string; body?: string }) => {
    const breaks = broken && init.method === lost
    if (breaks) broken = false
    const id = path.split('/').pop()!
    if (init.method === 'GET') return things.has(id) ? new Response(JSON.stringify(things.get(id))) : new Response('{}', { status: 404 })
    const body = JSON.parse(init.body!) as Things['bindings']
    if (!breaks || stored) {
      things.set(body.id, body)
      done.push(`${init.method} ${body.id} ${body.device} ${body.from} ${body.to ?? ''}`.trim())
    }
    if (breaks) throw new TypeError('network')
    return new Response(JSON.stringify(body))
  })
  const moves = movesOf('old', lists.bindings, Date.parse(now))
  await expect(move(moves, 'new', lists, () => now)).rejects.toThrow()
  await move(JSON.parse(JSON.stringify(moves)), 'new', lists, () => now) // as a page that was loaded again has them
  expect(done).toEqual([`PUT gate-pm10 old 2026-01-01T00:00:00Z ${now}`, `POST gate-pm10-2 new ${now}`])
})
