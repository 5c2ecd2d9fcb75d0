import { expect, test } from 'vitest'
import { stretches } from './stretches'

const at = (...seconds: number[]) => seconds.map((s) => ({ at: Math.abs(s) * 1000, value: s < 0 ? Number.NaN : 1 })) // below zero: no value then

test.each([
  ['one after another', at(1, 2, 3, 4), '1,2,3,4'],
  ['a poll that is missing', at(1, 2, 4, 5), '1,2,4,5'],
  ['a minute without', at(1, 2, 3, 63, 64), '1,2,3 63,64'],
  ['a bad value', at(1, 2, -3, 4), '1,2 4'],
  ['hours', at(3600, 7200, 10_800), '3600,7200,10800'],
  ['none', [], ''],
  ['a single one', at(7), '7'],
])('%s', (_name, samples, want) => expect(stretches(samples).map((l) => l.map((s) => s.at / 1000).join(',')).join(' ')).toBe(want))
