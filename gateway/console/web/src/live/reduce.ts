import type { Schemas } from '../api/client'

export type LastValue = Schemas['LastValue']
export type Event = Schemas['Event']

/** One kept value, for the little curve beside a point. */
export interface Dot {
  at: number // ms since 1970
  value: number
}

/** What the gateway told last of everything that moves. */
export interface Live {
  now: number // the gateway's clock minus ours, ms
  readings: Map<string, LastValue> // by point
  trends: Map<string, Dot[]> // by point, oldest first
  devices: Map<string, Schemas['DeviceStatus']>
  cameras: Map<string, Schemas['CameraStatus']>
  events: Event[] // open or unacknowledged, and what ended since; newest first
  notices: Schemas['Notice'][]
  revision: number // of the registry; more than before means: read its lists again
}

export function empty(): Live {
  return { now: 0, readings: new Map(), trends: new Map(), devices: new Map(), cameras: new Map(), events: [], notices: [], revision: 0 }
}

const mostEvents = 200
const trendSpan = 5 * 60_000
const mostDots = 300

/** reduce takes one message of the live stream into l. Unknown names are for newer consoles. */
export function reduce(l: Live, name: string, data: unknown, now: number): void {
  switch (name) {
    case 'state':
      return begin(l, data as Schemas['LiveState'], now)
    case 'readings':
      return (data as Schemas['LastValueList']).items.forEach((v) => take(l, v))
    case 'device': {
      const status = data as Schemas['DeviceStatus']
      l.devices.set(status.device, status)
      return
    }
    case 'camera': {
      const status = data as Schemas['CameraStatus']
      l.cameras.set(status.camera, status)
      return
    }
    case 'event':
      l.events = withEvent(l.events, (data as Schemas['LiveEvent']).event)
      return
    case 'notices':
      l.notices = (data as Schemas['NoticeList']).items
      return
    case 'registry':
      l.revision++
  }
}

function begin(l: Live, s: Schemas['LiveState'], now: number): void {
  l.now = Date.parse(s.now) - now
  l.readings = new Map()
  s.readings.forEach((v) => take(l, v))
  l.devices = new Map(s.devices.map((d) => [d.device, d]))
  l.cameras = new Map(s.cameras.map((c) => [c.camera, c]))
  l.events = s.events
  l.notices = s.notices
  l.revision++ // what was registered meanwhile was not told
}

function take(l: Live, v: LastValue): void {
  l.readings.set(v.point, v)
  if (v.quality.startsWith('bad')) return
  const at = Date.parse(v.at)
  const dots = l.trends.get(v.point) ?? []
  if (dots.length && dots[dots.length - 1]!.at >= at) return
  const kept = dots.filter((d) => d.at > at - trendSpan).slice(1 - mostDots)
  kept.push({ at, value: v.value })
  l.trends.set(v.point, kept)
}

/** withEvent puts e in place of its older revision, or in by its time. */
export function withEvent(events: Event[], e: Event): Event[] {
  const known = events.find((o) => o.id === e.id)
  if (known && known.revision > e.revision) return events
  const rest = events.filter((o) => o.id !== e.id)
  const at = rest.findIndex((o) => Date.parse(o.started_at) <= Date.parse(e.started_at))
  rest.splice(at < 0 ? rest.length : at, 0, e)
  return rest.slice(0, mostEvents)
}

/** An event asks for attention while it goes on or nobody has looked. */
export const waits = (e: Event) => e.state === 'unacknowledged' || e.state === 'acknowledged' || e.state === 'returned_unacknowledged'
export const active = (e: Event) => e.state === 'unacknowledged' || e.state === 'acknowledged'
export const unseen = (e: Event) => e.state === 'unacknowledged' || e.state === 'returned_unacknowledged'
