import { locale, t } from './i18n'

/** A span in the largest unit that fits, such as "3 分钟"; ms below zero count as zero. */
export function span(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000))
  if (s < 60) return t('age.seconds', { n: s })
  if (s < 3600) return t('age.minutes', { n: Math.floor(s / 60) })
  if (s < 172800) return t('age.hours', { n: Math.floor(s / 3600) })
  return t('age.days', { n: Math.floor(s / 86400) })
}

/** How long ago, or "just now" within two seconds. */
export function ago(ms: number): string {
  return ms < 2000 ? t('age.now') : t('overview.age', { age: span(ms) })
}

const beijing = 8 * 3600e3 // has known no summer time since 1991
const dayLength = 24 * 3600e3
const inBeijing = (ms: number) => new Date(ms + beijing).toISOString()

/** Whether this machine's clock shows another time of day than the console, which like the gateway's own words keeps to Beijing's. */
export const elsewhere = (): boolean => new Date().getTimezoneOffset() !== -beijing / 60e3

/** Date and time in Beijing, to the second. */
export const moment = (iso: string | undefined): string => (iso ? inBeijing(Date.parse(iso)).slice(0, 19).replace('T', ' ') : '')

/** The same to the millisecond. */
export const exactly = (iso: string | undefined): string => (iso ? inBeijing(Date.parse(iso)).slice(0, 23).replace('T', ' ') : '')

/** The time of day in Beijing. */
export const clock = (iso: string): string => moment(iso).slice(11)

/** Those of an instant in Unix ms. */
export const momentOf = (ms: number): string => moment(new Date(ms).toISOString())
export const clockOf = (ms: number): string => momentOf(ms).slice(11)

/** The time alone if it is of today, else day and time. */
export const shortly = (iso: string, now: number): string => (dayOf(now) === dayOf(Date.parse(iso)) ? clock(iso) : moment(iso).slice(5))

/** The day in Beijing of an instant in Unix ms, as 2026-03-01. */
export const dayOf = (ms: number): string => inBeijing(ms).slice(0, 10)

/** The first instant of a day in Beijing, moved on by whole days, Unix ms; NaN for what is no day. */
export const dayBegins = (day: string, later = 0): number => Date.parse(day + 'T00:00:00+08:00') + later * dayLength

/** An instant as datetime-local fields hold it, in Beijing, to the minute or to the second. */
export const fieldTime = (iso: string, to: 'minute' | 'second' = 'minute'): string => inBeijing(Date.parse(iso)).slice(0, to === 'minute' ? 16 : 19)

/** The instant that such a field holds, RFC 3339; it throws for what is no time. */
export const instantOf = (field: string): string => new Date(field + '+08:00').toISOString()

/** A value with the point's decimals; where these are unknown, at most three. */
export function figure(value: number, digits?: number): string {
  if (digits !== undefined) return value.toFixed(digits)
  return String(Math.round(value * 1000) / 1000)
}

/** A value of an enumeration by its name, any other with the point's decimals. */
export function reading(value: number, point?: { digits: number; labels?: { value: number; text: string }[] }): string {
  return point?.labels?.find((l) => l.value === value)?.text ?? figure(value, point?.digits)
}

/** Part of one as a percentage, rounded down: 99.96 % is not "always". */
export const percent = (rate: number | undefined) => (rate === undefined ? '—' : (Math.floor(rate * 1000) / 10).toFixed(1) + ' %')

/** Units as they are printed: ug/m3 becomes µg/m³. */
export function unitText(unit: string | undefined): string {
  return (unit ?? '').replace(/^ug\b/, 'µg').replace(/m3\b/g, 'm³').replace(/m2\b/g, 'm²')
}

const parts: Record<string, number> = { h: 3600e3, m: 60e3, s: 1e3, ms: 1, us: 1e-3, µs: 1e-3, ns: 1e-6 }

/** Milliseconds of a Go duration such as "-1m2.5s"; NaN if it is none. */
export function milliseconds(duration: string): number {
  const sign = duration.startsWith('-') ? -1 : 1
  const rest = duration.replace(/^[+-]/, '')
  if (rest === '0') return 0
  let sum = 0
  const left = rest.replace(/(\d+(?:\.\d+)?)(h|ms|m|us|µs|ns|s)/g, (_, n: string, u: string) => {
    sum += Number(n) * parts[u]!
    return ''
  })
  return left === '' && rest !== '' ? sign * sum : NaN
}

/** The distance of a picture from its breach: which side, and how far to the tenth of a second. */
export function distance(duration: string | undefined): string {
  if (!duration) return ''
  const ms = milliseconds(duration)
  if (Number.isNaN(ms)) return duration
  const seconds = Math.abs(ms) / 1000
  const d = seconds < 60 ? seconds.toFixed(1) + (locale.value === 'en' ? ' s' : ' 秒') : span(Math.abs(ms))
  return t(ms < 0 ? 'event.distanceBefore' : 'event.distanceAfter', { d })
}

/** A size in bytes with a unit that people read. */
export function bytes(n: number): string {
  if (n < 1024) return n + ' B'
  if (n < 1 << 20) return (n / 1024).toFixed(1) + ' KiB'
  if (n < 1 << 30) return (n / (1 << 20)).toFixed(1) + ' MiB'
  return (n / (1 << 30)).toFixed(1) + ' GiB'
}
