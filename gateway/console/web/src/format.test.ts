import { beforeEach, expect, test } from 'vitest'
import { bytes, clock, dayBegins, dayOf, distance, fieldTime, figure, instantOf, milliseconds, moment, reading, shortly, span, unitText } from './format'
import { locale, spoken } from './i18n'

beforeEach(() => {
  locale.value = 'zh-CN'
})

test.each([
  [-5000, '0 秒'],
  [59_999, '59 秒'],
  [60_000, '1 分钟'],
  [3_599_999, '59 分钟'],
  [47 * 3600e3, '47 小时'],
  [48 * 3600e3, '2 天'],
])('span of %d ms', (ms, want) => expect(span(ms)).toBe(want))

test.each([
  ['0s', 0],
  ['0', 0],
  ['-772ms', -772],
  ['1m30s', 90_000],
  ['1h0m0.5s', 3_600_500],
  ['250µs', 0.25],
  ['', NaN],
  ['soon', NaN],
  ['1x', NaN],
])('milliseconds of %s', (text, want) => expect(milliseconds(text)).toBe(want))

test.each([
  ['-772ms', '报警前 0.8 秒', '0.8 s before'],
  ['3.21s', '报警后 3.2 秒', '3.2 s after'],
  ['2m5s', '报警后 2 分钟', '2 min after'],
  [undefined, '', ''],
  ['later', 'later', 'later'],
])('distance of %s', async (text, zh, en) => {
  expect(distance(text)).toBe(zh)
  locale.value = 'en'
  await spoken()
  expect(distance(text)).toBe(en)
})

test('figures have the decimals of the point, or at most three', () => {
  expect(figure(4.1000000000000005, 1)).toBe('4.1')
  expect(figure(4.1000000000000005)).toBe('4.1')
  expect(figure(13.7878999)).toBe('13.788')
  expect(figure(-0.5, 0)).toBe('-1')
})

test('values of an enumeration have names', () => {
  const point = { digits: 0, labels: [{ value: 1, text: '运行' }] }
  expect(reading(1, point)).toBe('运行')
  expect(reading(2, point)).toBe('2')
  expect(reading(2.5)).toBe('2.5')
})

test('units and sizes are printed as people read them', () => {
  expect(unitText('ug/m3')).toBe('µg/m³')
  expect(unitText('dB(A)')).toBe('dB(A)')
  expect(unitText(undefined)).toBe('')
  expect(bytes(5314)).toBe('5.2 KiB')
})

test.each([
  ['2026-03-01T15:59:59Z', '2026-03-01 23:59:59'],
  ['2026-03-01T16:00:00.7Z', '2026-03-02 00:00:00'],
  ['2026-03-01T12:00:00+09:00', '2026-03-01 11:00:00'],
  [undefined, ''],
])('%s in Beijing, in whatever zone it is read', (iso, want) => {
  expect(moment(iso)).toBe(want)
  if (!iso) return
  expect(clock(iso)).toBe(want.slice(11))
  expect(fieldTime(iso)).toBe(want.slice(0, 16).replace(' ', 'T'))
  expect(moment(instantOf(fieldTime(iso, 'second')))).toBe(want)
})

test('a day is Beijing\'s', () => {
  expect(dayOf(Date.parse('2026-03-01T15:59:59Z'))).toBe('2026-03-01')
  expect(new Date(dayBegins('2026-03-01', 1)).toISOString()).toBe('2026-03-01T16:00:00.000Z')
  expect(dayBegins('soon')).toBeNaN()
  expect(shortly('2026-03-01T15:59:59Z', Date.parse('2026-03-01T16:00:00Z'))).toBe('03-01 23:59:59')
  expect(shortly('2026-03-01T16:00:01Z', Date.parse('2026-03-02T15:00:00Z'))).toBe('00:00:01')
})
