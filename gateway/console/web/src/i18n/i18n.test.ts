import { expect, test } from 'vitest'
import { fill, locale, said, spoken, t, word } from '.'
import { en } from './en'
import { zhCN } from './zh-CN'

test('both languages have the same keys, and none is empty', () => {
  expect(Object.keys(en).sort()).toEqual(Object.keys(zhCN).sort())
  for (const list of [en, zhCN]) expect(Object.entries(list).filter(([, v]) => v.trim() === '')).toEqual([])
})

test('both languages name the same values', () => {
  const names = (s: string) => [...s.matchAll(/\{(\w+)\}/g)].map((m) => m[1]).sort()
  for (const key of Object.keys(zhCN) as (keyof typeof zhCN)[]) expect([key, names(en[key])]).toEqual([key, names(zhCN[key])])
})

test('instant limits raise an alarm; no sentence calls it an exceedance', () => {
  expect(Object.values(zhCN).filter((s) => s.includes('超标'))).toEqual([])
  expect(Object.values(en).filter((s) => /exceedance/i.test(s))).toEqual([])
})

test('sentences follow the chosen language, unknown codes stay as they are', async () => {
  locale.value = 'zh-CN'
  expect(t('camera.viewers', { n: 2 })).toBe('2 人在看')
  locale.value = 'en'
  await spoken()
  expect(t('camera.viewers', { n: 2 })).toBe('2 watching')
  expect(word('level', 'HH')).toBe('High-high')
  expect(word('level', 'HHH')).toBe('HHH')
  expect(said({ zh: '好', en: 'good' })).toBe('good')
  expect(fill('{a} {b}', { a: 1 })).toBe('1 {b}')
  expect([0, 1, 2].map((n) => fill('{n} {n|point is|points are} bound', { n }))).toEqual(['0 points are bound', '1 point is bound', '2 points are bound'])
})
