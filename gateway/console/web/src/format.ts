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

const two = (n: number) => String(n).padStart(2, '0')

/** Date and time by the reader's clock, to the second. */
export function moment(iso: string | undefined): string {
  if (!iso) return ''
  const d = new Date(iso)
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(iso)}`
}

/** The time of day by the reader's clock. */
export function clock(iso: string): string {
  const d = new Date(iso)
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`
}

const beijing = 8 * 3600e3 // has known no summer time since 1991

/** Date and time in Beijing, to the second: what the gateway writes of an event, in whatever zone it is read. */
export function beijingMoment(iso: string | undefined): string {
  return iso ? new Date(Date.parse(iso) + beijing).toISOString().slice(0, 19).replace('T', ' ') : ''
}

/** The time of day in Beijing. */
export const beijingClock = (iso: string) => beijingMoment(iso).slice(11)

/** The time alone if it is of today, else day and time. */
export function shortly(iso: string, now: number): string {
  const d = new Date(iso)
  const today = new Date(now).toDateString() === d.toDateString()
  return today ? clock(iso) : `${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(iso)}`
}

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
