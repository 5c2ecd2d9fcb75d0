import { describe, expect, it } from 'vitest'
import { clipPath, pieceAt, place, seconds, size, type Timeline } from './recording'

const at = (s: number) => new Date(Date.UTC(2026, 0, 1) + s * 1000).toISOString()
const ms = (s: number) => Date.parse(at(s))
const timeline: Timeline = {
  stretches: [{ from: at(0), to: at(60), bytes: 1, source: 'own' }, { from: at(120), to: at(7200), bytes: 1, source: 'own' }], gaps: [], events: [], bytes: 2, days: 15,
}

describe('pieceAt', () => {
  it.each([
    ['within a stretch', 10, 10, 60],
    ['before all', -100, 0, 60],
    ['in a gap', 90, 120, 720],
    ['at the very end of a stretch', 59.9, 120, 720],
    ['in a long stretch', 1000, 1000, 1600],
  ])('%s', (_name, when, from, to) => expect(pieceAt(timeline, ms(when))).toEqual({ from: ms(from), to: ms(to), source: 'own' }))
  it('has nothing behind the end', () => expect(pieceAt(timeline, ms(7200))).toBeUndefined())
})

describe('pieceAt with a recorder', () => {
  const theirs = (from: number, to: number) => ({ from: at(from), to: at(to), bytes: 0, source: 'recorder' as const })
  const [first, second] = timeline.stretches
  const both: Timeline = { ...timeline, stretches: [theirs(-60, 0), first!, theirs(60, 100), second!, theirs(7200, 9000)] }
  it.each([
    ['before ours', -30, { from: -30, to: 0, source: 'recorder' }],
    ['where both are', 10, { from: 10, to: 60, source: 'own' }],
    ['in our gap', 70, { from: 70, to: 100, source: 'recorder' }],
    ['in a gap of both', 110, { from: 120, to: 720, source: 'own' }],
    ['behind ours', 7300, { from: 7300, to: 7360, source: 'recorder' }],
  ] as const)('%s', (_name, when, want) => expect(pieceAt(both, ms(when))).toEqual({ ...want, from: ms(want.from), to: ms(want.to) }))
})

it.each([['1m30s', 90], ['-1.5s', -1.5], ['-2h0m1s', -7201], ['250ms', 0.25], ['', undefined], ['x', undefined]])('reads %s', (text, want) =>
  expect(seconds(text)).toBe(want))

it('places what reaches into a bar', () => {
  expect(place(5, 10, 0, 20)).toEqual({ left: '25%', width: '25%' })
  expect(place(-5, 40, 0, 20)).toEqual({ left: '0%', width: '100%' })
  expect(place(30, 40, 0, 20)).toBeUndefined()
})

it('writes sizes and addresses', () => {
  expect([size(12), size(1200), size(15_000_000), size(2.5e11)]).toEqual(['12 B', '1.2 KB', '15.0 MB', '250 GB'])
  expect(clipPath('cam-1', { from: ms(0), to: ms(1), source: 'own' })).toBe('/cameras/cam-1/clip?from=2026-01-01T00%3A00%3A00.000Z&to=2026-01-01T00%3A00%3A01.000Z&source=own')
})
