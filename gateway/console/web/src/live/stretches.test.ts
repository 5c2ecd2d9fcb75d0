import { expect, test } from 'vitest'
import type { Schemas } from '../api/client'
import { courseOf, stretches } from './stretches'

const at = (...seconds: number[]) => seconds.map((s) => ({ at: Math.abs(s) * 1000, value: s < 0 ? Number.NaN : 1 })) // below zero: no value then

test.each([
  ['one after another', 60, at(1, 2, 3, 4), '1,2,3,4'],
  ['a poll that is missing', 60, at(1, 2, 4, 5), '1,2,4,5'],
  ['as long as the rule bears', 60, at(1, 2, 3, 63, 64), '1,2,3,63,64'],
  ['stale before the next', 60, at(1, 2, 3, 64, 65), '1,2,3 64,65'],
  ['sent when it changed, an hour at the most', 10_800, at(1, 2, 3, 3600, 3601, 9000), '1,2,3,3600,3601,9000'],
  ['a bad value', 60, at(1, 2, -3, 4), '1,2 4'],
  ['hours', 10_800, at(3600, 7200, 10_800), '3600,7200,10800'],
  ['none', 60, [], ''],
  ['a single one', 60, at(7), '7'],
])('%s', (_name, patience, samples, want) =>
  expect(stretches({ samples, patience: patience * 1000 }).map((l) => l.map((s) => s.at / 1000).join(',')).join(' ')).toBe(want))

const answer = (rest: Partial<Schemas['Readings']>): Schemas['Readings'] => ({ point: 'stack.p', unit: '', from: '', to: '', stale_after: '1m0s', ...rest })
const time = (s: number) => new Date(s * 1000).toISOString()
const cut = (r: Schemas['Readings']) => stretches(courseOf(r)).map((l) => l.map((s) => s.at / 1000).join(',')).join(' ')

test('samples of bad quality are no values', () =>
  expect(cut(answer({ samples: [[0, 'good'], [30, 'uncertain/over'], [60, 'bad/device'], [90, 'good']].map(([s, quality]) => ({ at: time(Number(s)), value: 1, quality: quality as Schemas['Quality'] })) }))).toBe('0,30 90'))

const windows = (...starts: [number, number?][]) => starts.map(([s, mean]) => ({ start: time(s), count: mean === undefined ? 0 : 1, mean }))
test.each([
  ['side by side', '1m0s', windows([0, 1], [300, 1], [600, 1]), '0,300,600'],
  ['one is missing: five minutes without', '1m0s', windows([0, 1], [600, 1]), '0 600'],
  ['one is empty', '1m0s', windows([0, 1], [300], [600, 1]), '0 600'],
  ['every ten minutes in windows of five', '30m0s', windows([0, 1], [600, 1], [1200, 1], [4200, 1]), '0,600,1200 4200'],
])('windows: %s', (_name, stale_after, list, want) => expect(cut(answer({ window: '5m', stale_after, windows: list }))).toBe(want))
