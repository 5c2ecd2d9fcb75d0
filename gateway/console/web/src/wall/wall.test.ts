import { expect, test } from 'vitest'
import type { Schemas } from '../api/client'
import type { Event } from '../live/reduce'
import { alarmsOf } from './alarms'
import { alarmsFirst, camerasOf, type Layout, layouts, neighbour, placesOf, put, typed, type Wall, wallOfAll } from './layout'
import { countdown, mutedUntil } from './siren'
import { ask, left, step, type Step, type Tour } from './tour'

const ids = (n: number) => Array.from({ length: n }, (_, i) => 'c' + (i + 1))
const wall = (layout: Layout, ...pages: string[][]): Wall => ({ name: 'w', layout, pages: pages.map((cameras) => ({ cameras })) })

test.each<[number, Layout, number]>([[0, '1', 1], [1, '1', 1], [3, '4', 1], [9, '9', 1], [10, '16', 1], [17, '16', 2], [1000, '16', 16]])('%d cameras: layout %s, %d pages', (n, layout, pages) => {
  const w = wallOfAll(ids(n), '')
  expect([w.layout, w.pages.length]).toEqual([layout, pages])
})

test('a page has as many places as its layout, and keeps what is beyond', () => {
  expect(placesOf(wall('4', ['a', '', 'b']), 0)).toEqual(['a', '', 'b', ''])
  expect(placesOf(wall('1', ids(3)), 0)).toEqual(['c1'])
  expect(placesOf(wall('4', []), 7)).toEqual(['', '', '', ''])
  expect(camerasOf(wall('4', ['a', '', 'b'], ['b', 'c']))).toEqual(['a', 'b', 'c'])
})

test('alarms come to the front, from other pages too', () => {
  const w = wall('4', ['a', 'b', '', 'c'], ['d'])
  expect(alarmsFirst(w, 0, new Set())).toEqual(['a', 'b', '', 'c'])
  expect(alarmsFirst(w, 0, new Set(['c', 'elsewhere']))).toEqual(['c', 'a', 'b', ''])
  expect(alarmsFirst(w, 0, new Set(['d']))).toEqual(['d', 'a', 'b', ''])
})

test('a camera put on another place changes with what stands there', () => {
  expect(put(['a', 'b', ''], 2, 'a')).toEqual(['', 'b', 'a'])
  expect(put(['a', 'b', ''], 0, 'c')).toEqual(['c', 'b', ''])
  expect(put(['a', 'b', ''], 1, '')).toEqual(['a', '', ''])
})

test.each<[Layout, number, string, number]>([
  ['4', 0, 'ArrowRight', 1], ['4', 1, 'ArrowDown', 3], ['4', 3, 'ArrowRight', 3], ['16', 5, 'ArrowUp', 1],
  ['1+5', 0, 'ArrowRight', 1], ['1+5', 0, 'ArrowDown', 3], ['1+5', 2, 'ArrowLeft', 0], ['1+5', 5, 'ArrowUp', 2],
  ['1+7', 0, 'ArrowRight', 2], ['1+7', 4, 'ArrowUp', 0], ['1+7', 7, 'ArrowUp', 3], ['1', 0, 'ArrowLeft', 0],
])('layout %s: from %d by %s to %d', (layout, from, key, to) => expect(neighbour(layout, from, key)).toBe(to))

test('every layout is full', () => {
  for (const { places, side, large } of Object.values(layouts)) expect(large * large + places - 1).toBe(side * side)
})

test('digits choose a place, two soon after each other one beyond nine', () => {
  expect(typed(undefined, 3, 0, 16).number).toBe(3)
  expect(typed(undefined, 0, 0, 16).number).toBe(10)
  expect(typed({ number: 1, at: 0 }, 4, 500, 16).number).toBe(14)
  expect(typed({ number: 1, at: 0 }, 4, 1500, 16).number).toBe(4)
  expect(typed({ number: 1, at: 0 }, 4, 500, 9).number).toBe(4)
  expect(typed({ number: 2, at: 0 }, 4, 500, 16).number).toBe(4)
})

// play steps a tour in quarters of a second and tells when which page is opened and shown.
function play(seconds: number, more: Partial<Step> | ((s: number) => Partial<Step>), from: Tour = { page: 0, spent: 0 }): string[] {
  const told: string[] = []
  let t = from
  for (let ms = 250; ms <= seconds * 1000; ms += 250) {
    const before = t
    t = step(t, { ms: 250, pages: 3, dwell: 10_000, held: false, ready: true, ...(typeof more === 'function' ? more(ms / 1000) : more) })
    if (t.coming !== before.coming && t.coming !== undefined) told.push(`open ${t.coming} at ${ms / 1000}`)
    if (t.page !== before.page) told.push(`show ${t.page} at ${ms / 1000}`)
  }
  return told
}

test('the next page is opened before the present one goes', () => {
  expect(play(21, {})).toEqual(['open 1 at 5', 'show 1 at 10', 'open 2 at 15', 'show 2 at 20'])
})
test('a page waits for its pictures, but not for ever', () => {
  expect(play(16, (s) => ({ ready: s >= 12 }))).toEqual(['open 1 at 5', 'show 1 at 12'])
  expect(play(16, { ready: false })).toEqual(['open 1 at 5', 'show 1 at 15'])
})
test('what holds a tour closes the coming page, and the time goes on afterwards', () => {
  expect(play(30, (s) => ({ held: s >= 8 && s < 20 }))).toEqual(['open 1 at 5', 'open 1 at 20', 'show 1 at 24.75', 'open 2 at 29.75'])
})
test('no tour without a dwell or with one page', () => {
  expect(play(60, { dwell: 0 })).toEqual([])
  expect(play(60, { pages: 1 })).toEqual([])
})
test('who turns the page gets it as soon as it shows, held or not', () => {
  expect(play(4, { held: true }, ask({ page: 0, spent: 3000 }, 2))).toEqual(['show 2 at 0.25'])
  expect(play(4, { dwell: 0, ready: false }, ask({ page: 0, spent: 3000 }, 2))).toEqual(['show 2 at 1.5'])
  expect(ask({ page: 1, spent: 9 }, 1)).toEqual({ page: 1, spent: 0 })
})
test('a page that is no longer there gives way to the first', () => expect(step({ page: 5, spent: 1 }, { ms: 1, pages: 2, dwell: 0, held: false, ready: false }).page).toBe(0))
test('seconds left are rounded up', () => expect(left({ page: 0, spent: 8100 }, 10_000)).toBe(2))

test('a mute ends after ten minutes at the latest', () => {
  expect(mutedUntil(null, 1000)).toBe(0)
  expect(mutedUntil('999', 1000)).toBe(0)
  expect(mutedUntil('5000', 1000)).toBe(5000)
  expect(mutedUntil('99999999', 1000)).toBe(601_000)
  expect(mutedUntil('nonsense', 1000)).toBe(0)
  expect([countdown(600_000), countdown(5_001), countdown(-1)]).toEqual(['10:00', '0:06', '0:00'])
})

test('alarms belong to the cameras that watch their outlet, unacknowledged ones first', () => {
  const camera = (id: string, ...outlets: string[]) => ({ id, outlets }) as Schemas['Camera']
  const event = (id: string, outlet: string, state: Event['state']) => ({ id, outlet, state }) as Event
  const got = alarmsOf(
    [camera('c1', 'o1', 'o2'), camera('c2', 'o2'), camera('c3')],
    [event('seen', 'o1', 'acknowledged'), event('new', 'o2', 'unacknowledged'), event('over', 'o1', 'returned_unacknowledged')],
  )
  expect([...got].map(([c, es]) => [c, es.map((e) => e.id)])).toEqual([['c1', ['new', 'seen']], ['c2', ['new']]])
})

test('an event of a camera is its own, whoever else watches the outlet', () => {
  const cameras = ['c1', 'c2'].map((id) => ({ id, outlets: ['o1'] }) as Schemas['Camera'])
  const got = alarmsOf(cameras, [{ id: 'smoke', camera: 'c2', outlet: 'o1', state: 'unacknowledged' } as Event])
  expect([...got.keys()]).toEqual(['c2'])
})
