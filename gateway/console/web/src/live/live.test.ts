import { expect, test } from 'vitest'
import { condition, type Facts, gravest, silent } from './condition'
import { empty, type Event, type LastValue, reduce, withEvent } from './reduce'
import { reader } from './sse'

const at = (s: number) => new Date(1_700_000_000_000 + s * 1000).toISOString()
const value = (s: number, v: number, quality = 'good') => ({ point: 'a.b', site: 's', value: v, unit: 'm', at: at(s), quality }) as LastValue
const event = (id: string, s: number, more: Partial<Event> = {}) =>
  ({ id, revision: 1, started_at: at(s), point: 'a.b', level: 'H', state: 'unacknowledged', ...more }) as Event
const now = Date.parse(at(0))

test('the stream is read however it is cut', () => {
  const text = 'event: readings\ndata: {"items":[]}\n\n: \n\nevent: lost\ndata: {"count":3}\n\ndata: x\n\nevent: half\nda'
  const want = [
    { name: 'readings', data: '{"items":[]}' },
    { name: 'lost', data: '{"count":3}' },
    { name: 'message', data: 'x' },
  ]
  for (let size = 1; size < text.length; size++) {
    const read = reader()
    const got = []
    for (let i = 0; i < text.length; i += size) got.push(...read(text.slice(i, i + size)))
    expect(got).toEqual(want)
  }
})

test('a state replaces everything, later messages change parts', () => {
  const l = empty()
  l.readings.set('gone.x', value(0, 1))
  const notices = [{ code: 'broker_insecure', level: 'warning', since: at(0), zh: '', en: '' }]
  reduce(l, 'state', { now: at(5), readings: [value(0, 1)], devices: [{ device: 'd', online: true }], cameras: [], events: [event('e', 0)], notices }, now)
  expect([...l.readings.keys()]).toEqual(['a.b'])
  expect(l.now).toBe(5000)
  expect(l.notices).toEqual(notices)
  const revision = l.revision
  reduce(l, 'readings', { items: [value(1, 2)] }, now)
  reduce(l, 'device', { device: 'd', online: false }, now)
  reduce(l, 'camera', { camera: 'c', connected: true }, now)
  reduce(l, 'event', { step: 'closed', event: event('e', 0, { revision: 2, state: 'returned_unacknowledged' }) }, now)
  reduce(l, 'notices', { items: [] }, now)
  reduce(l, 'registry', { revision: 9 }, now)
  reduce(l, 'of another year', {}, now)
  expect(l.readings.get('a.b')?.value).toBe(2)
  expect(l.devices.get('d')?.online).toBe(false)
  expect(l.cameras.get('c')?.connected).toBe(true)
  expect(l.events.map((e) => [e.id, e.revision, e.state])).toEqual([['e', 2, 'returned_unacknowledged']])
  expect(l.notices).toEqual([])
  expect(l.revision).toBe(revision + 1)
})

test('the curve keeps good values of five minutes in order', () => {
  const l = empty()
  for (const v of [value(0, 1), value(10, 2), value(10, 3), value(5, 4), value(20, 5, 'bad'), value(306, 6)]) reduce(l, 'readings', { items: [v] }, now)
  expect(l.trends.get('a.b')?.map((d) => d.value)).toEqual([2, 6])
})

test('events stand newest first, once, in their newest revision', () => {
  let list: Event[] = []
  for (const e of [event('a', 1), event('c', 3), event('b', 2), event('b', 2, { revision: 3 }), event('b', 2, { revision: 2 })]) list = withEvent(list, e)
  expect(list.map((e) => e.id + e.revision)).toEqual(['c1', 'b3', 'a1'])
})

const facts: Facts = { last: value(0, 1), bound: true, events: [], now }
test.each<[string, Partial<Facts>, ReturnType<typeof condition>]>([
  ['normal', {}, { state: 'normal' }],
  ['alarm', { events: [event('e', 0)] }, { state: 'alarm', level: 'H' }],
  ['the gravest alarm', { events: [event('e', 0), event('f', 0, { level: 'HH', state: 'acknowledged' })] }, { state: 'alarm', level: 'HH' }],
  ['alarm that is over', { events: [event('e', 0, { state: 'returned_unacknowledged' })] }, { state: 'normal' }],
  ['alarm of another point', { events: [event('e', 0, { point: 'a.c' })] }, { state: 'normal' }],
  ['alarm while the device is away', { events: [event('e', 0)], device: { online: false } as Facts['device'] }, { state: 'alarm', level: 'H' }],
  ['device away', { device: { online: false } as Facts['device'] }, { state: 'offline' }],
  ['no value', { last: undefined }, { state: 'none' }],
  ['no binding', { bound: false, last: undefined }, { state: 'unbound' }],
  ['bad', { last: value(0, 1, 'bad/clock') }, { state: 'bad' }],
  ['out of range', { last: value(0, 1, 'uncertain/range') }, { state: 'uncertain' }],
  ['stale', { last: { ...value(0, 1), stale: true } }, { state: 'stale' }],
  ['console cut off', { deaf: true }, { state: 'stale' }],
  ['minute data', { now: now + 300_000 }, { state: 'normal' }],
])('condition: %s', (_, f, want) => expect(condition('a.b', { ...facts, ...f })).toEqual(want))

test('an alarm does not hide that nothing new comes', () => {
  expect(silent('a.b', facts)).toBe(false)
  expect(silent('a.b', { ...facts, last: { ...value(0, 1), stale: true } })).toBe(true)
  expect(silent('a.b', { ...facts, deaf: true, events: [event('e', 0)] })).toBe(true)
  expect(silent('a.b', { ...facts, bound: false, deaf: true })).toBe(false)
})

test('levels rank by gravity', () => {
  expect(gravest(['H', 'LL', 'lower'])).toBe('LL')
  expect(gravest([])).toBeUndefined()
})

test('what is under maintenance is not judged, what the gateway calls stale is stale', () => {
  const device = { device: 'd', site: 's', online: false, since: '2026-01-01T00:00:00Z' }
  const facts = { bound: true, events: [], now: Date.parse('2026-01-01T01:00:00Z') }
  const maintenance = { reason: 'r', who: 'w', from: '2026-01-01T00:00:00Z', until: '2026-01-01T02:00:00Z' }
  const last = { point: 'p', site: 's', value: 1, unit: '', at: '2026-01-01T00:59:59Z', quality: 'good' as const }
  expect(condition('p', { ...facts, device: { ...device, maintenance } })).toEqual({ state: 'maintenance' })
  expect(condition('p', { ...facts, device: { ...device, maintenance: { ...maintenance, until: '2026-01-01T00:30:00Z' } } })).toEqual({ state: 'offline' })
  expect(condition('p', { ...facts, last, device: { ...device, online: true, stale: ['p'] } })).toEqual({ state: 'stale' })
  expect(condition('p', { ...facts, last, device: { ...device, online: true, stale: ['q'] } })).toEqual({ state: 'normal' })
})
