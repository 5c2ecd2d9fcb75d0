import { expect, test } from 'vitest'
import { Freshness } from './freshness'

test('what does not change stands still since it last did', () => {
  const f = new Freshness()
  expect([f.look(1, 1000), f.look(2, 2000), f.look(2, 3000), f.look(2, 9000), f.look(3, 9500)]).toEqual([1000, 2000, 2000, 2000, 9500])
})

test('what is nothing to see is always fresh', () => {
  const f = new Freshness()
  expect([f.look(7, 1000), f.look(Symbol(), 5000), f.look(Symbol(), 9000), f.look(7, 9500)]).toEqual([1000, 5000, 9000, 9500])
})
