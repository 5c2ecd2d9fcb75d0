import type { Schemas } from '../api/client'
import { active, type Event, type LastValue } from './reduce'

/** How a point stands; an alarm names its level. */
export type Condition =
  | { state: 'alarm'; level: string }
  | { state: 'bad' | 'offline' | 'stale' | 'maintenance' | 'uncertain' | 'none' | 'unbound' | 'normal' }

const gravity = ['HH', 'LL', 'H', 'L', 'upper', 'lower']

/** The gravest of the levels. */
export function gravest(levels: string[]): string | undefined {
  return [...levels].sort((a, b) => gravity.indexOf(a) - gravity.indexOf(b))[0]
}

/** What is known of one point. */
export interface Facts {
  last?: LastValue
  device?: Schemas['DeviceStatus'] // of the device that it is bound to
  bound: boolean
  events: Event[]
  now: number // by the gateway's clock
  deaf?: boolean // the console hears nothing from the gateway, so that nothing is known of now
}

/**
 * silent says that nothing new has come of a bound point for too long, whatever else holds: its value may no longer be true.
 * The gateway knows how often each point is to be heard, and says so; who does not hear the gateway knows nothing.
 */
export function silent(point: string, f: Facts): boolean {
  if (!f.bound || !f.last) return false
  return !!f.device?.stale?.includes(point) || !!f.last.stale || !!f.deaf
}

/**
 * condition gives the gravest thing first: an alarm that goes on is shown as such
 * also while its device is away, because nothing says that it is over. What is
 * under maintenance is not judged, whatever its device does.
 */
export function condition(point: string, f: Facts): Condition {
  const level = gravest(f.events.filter((e) => e.point === point && active(e)).map((e) => e.level))
  if (level) return { state: 'alarm', level }
  if (!f.bound) return { state: 'unbound' }
  if ([f.device?.maintenance, f.last?.maintenance].some((m) => m && Date.parse(m.until) > f.now)) return { state: 'maintenance' }
  if (f.device && !f.device.online) return { state: 'offline' }
  if (!f.last) return { state: 'none' }
  if (f.last.quality.startsWith('bad')) return { state: 'bad' }
  if (silent(point, f)) return { state: 'stale' }
  if (f.last.quality.startsWith('uncertain')) return { state: 'uncertain' }
  return { state: 'normal' }
}
