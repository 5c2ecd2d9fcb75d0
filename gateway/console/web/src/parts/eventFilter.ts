import { type LocationQuery } from 'vue-router'
import type { Schemas } from '../api/client'
import { dayBegins } from '../format'
import { active, type Event, unseen } from '../live/reduce'

export type Show = 'all' | 'open' | 'unacknowledged' | 'closed'
export const shows: Show[] = ['all', 'open', 'unacknowledged', 'closed']
const inState: Record<Show, (e: Event) => boolean> = { all: () => true, open: active, unacknowledged: unseen, closed: (e) => !active(e) }

/**
 * What of the alarms is shown, as the page's address keeps it. Empty text does not
 * choose. what is breach, camera, recognised or one rule such as camera_lost; from and
 * to are days in Beijing, both included, as 2026-03-01.
 */
export interface EventFilter {
  show: Show
  site: string
  point: string
  camera: string
  device: string
  what: string
  from: string
  to: string
}

const names = ['site', 'point', 'camera', 'device', 'what', 'from', 'to'] as const
const isDay = (text: string) => /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(dayBegins(text))

/** filterOf reads the address; what is no filter is left out. */
export function filterOf(query: LocationQuery): EventFilter {
  const text = (name: string) => (typeof query[name] === 'string' ? query[name] : '')
  const f = { show: shows.find((s) => s === query.show) ?? 'all', ...Object.fromEntries(names.map((n) => [n, text(n)])) } as EventFilter
  if (!isDay(f.from)) f.from = ''
  if (!isDay(f.to)) f.to = ''
  return f
}

/** addressOf is the query of the page's address. */
export function addressOf(f: EventFilter): Record<string, string> {
  return Object.fromEntries(Object.entries(f).filter(([name, v]) => v !== '' && !(name === 'show' && v === 'all')))
}

/** askOf is the query of the gateway's list. */
export function askOf(f: EventFilter): URLSearchParams {
  const q = new URLSearchParams()
  if (f.show !== 'all') q.set('state', f.show)
  for (const n of ['site', 'point', 'camera', 'device', 'what'] as const) if (f[n]) q.set(n, f[n])
  if (f.from) q.set('from', new Date(dayBegins(f.from)).toISOString())
  if (f.to) q.set('to', new Date(dayBegins(f.to, 1)).toISOString())
  return q
}

/** concerns says whether an event is of a camera itself or of a point at an outlet that it watches. */
export const concerns = (camera: Schemas['Camera'] | undefined, e: Event): boolean => (e.camera ? e.camera === camera?.id : !!camera?.outlets?.includes(e.outlet))

/** What the console knows of who measures and watches what. */
export interface Known {
  camera: (id: string) => Schemas['Camera'] | undefined
  deviceOf: (point: string) => string | undefined
}

/** fits says of an event that was told live what the gateway's list says of those of the past. */
export function fits(f: EventFilter, e: Event, known: Known): boolean {
  const at = Date.parse(e.started_at)
  return (
    inState[f.show](e) && (!f.site || e.site === f.site) && (!f.point || e.point === f.point) &&
    (!f.camera || e.camera === f.camera || concerns(known.camera(f.camera), e)) && (!f.device || (!e.camera && known.deviceOf(e.point) === f.device)) &&
    (!f.what || (f.what === 'breach' ? !e.camera : !!e.camera && (e.limit === f.what || e.limit.startsWith(f.what + '_')))) &&
    (!f.from || at >= dayBegins(f.from)) && (!f.to || at < dayBegins(f.to, 1))
  )
}
