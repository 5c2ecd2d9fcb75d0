import { expect, test } from 'vitest'
import { extended, type Losses, renewed } from './losses'

// Rows by the second of their end; one with a letter has that id.
const row = (to: number, id = to) => ({ id, kind: 'gap', subject: 'device/a', from: '2026-03-01T04:00:00Z', to: `2026-03-01T04:00:${String(to).padStart(2, '0')}Z`, count: 1, open: false, why: { field: '', code: 'x', zh: '', en: '' } })
const list = (next: string | undefined, ...tos: number[]): Losses => ({ items: tos.map((to) => row(to)), next })
const ids = (l: Losses) => l.items.map((i) => i.id)

test.each([
  ['the first page', list(undefined), list('8', 10, 9, 8), [10, 9, 8], '8'],
  ['nothing new', list('5', 10, 9, 8, 7, 6, 5), list('8', 10, 9, 8), [10, 9, 8, 7, 6, 5], '5'],
  ['some are new', list('5', 10, 9, 8, 7, 6, 5), list('10', 12, 11, 10), [12, 11, 10, 9, 8, 7, 6, 5], '5'],
  ['all of it is read', list(undefined, 10, 9, 8, 7), list('9', 11, 10, 9), [11, 10, 9, 8, 7], undefined],
  ['others may lie between', list('5', 10, 9, 8, 7, 6, 5), list('20', 22, 21, 20), [22, 21, 20], '20'],
  ['no more was read than a page', list('8', 10, 9, 8), list('8', 10, 9, 8), [10, 9, 8], '8'],
  ['a page is all there is', list('5', 10, 9, 8, 7, 6, 5), list(undefined, 10), [10], undefined],
])('the newest page over what was read: %s', (_, read, page, want, next) => {
  const now = renewed(read, page)
  expect(ids(now)).toEqual(want)
  expect(now.next).toBe(next)
})

test('a row that goes on moves up and is there once', () => {
  const now = renewed(list('5', 10, 9, 8, 7, 6, 5), { items: [row(12, 6), row(10), row(9)], next: '9' })
  expect(ids(now)).toEqual([6, 10, 9, 8, 7, 5])
})

test('rows that end at once lie by their ids', () => {
  const now = renewed({ items: [row(9, 4), row(9, 3), row(9, 2), row(9, 1)], next: 'x' }, { items: [row(9, 5), row(9, 4)], next: 'y' })
  expect(ids(now)).toEqual([5, 4, 3, 2, 1])
})

test('a page more has no row twice', () => {
  const now = extended(list('8', 10, 9, 8), { items: [row(7), row(7, 9), row(6)], next: '6' })
  expect(ids(now)).toEqual([10, 9, 8, 7, 6])
  expect(now.next).toBe('6')
})
