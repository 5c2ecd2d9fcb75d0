import type { Schemas } from '../api/client'
import { milliseconds } from '../format'

/** One value of a curve; a value that is NaN says that there was none. */
export interface Sample {
  at: number // Unix ms
  value: number
}

/** What a curve shows, and how long nothing may come in it before it breaks off. */
export interface Course {
  samples: Sample[]
  patience: number // ms
}

/** courseOf reads an answer of the history; windows without a value are none. The patience is the gateway's: a device that sends only what has changed is not silent. */
export function courseOf(r: Schemas['Readings']): Course {
  const patience = milliseconds(r.stale_after) + (r.window ? milliseconds(r.window) : 0) // from one window's beginning to the next one's
  const windows = (r.windows ?? []).filter((w) => w.mean !== undefined).map((w) => ({ at: Date.parse(w.start), value: w.mean! }))
  const samples = (r.samples ?? []).map((s) => ({ at: Date.parse(s.at), value: s.quality.startsWith('bad') ? Number.NaN : s.value }))
  return { samples: r.window ? windows : samples, patience }
}

/**
 * stretches cuts a curve where nothing was measured: at what was no value, and where the point was stale before the next
 * one came. A line across would show values that nobody has seen.
 */
export function stretches({ samples, patience }: Course): Sample[][] {
  const list: Sample[][] = [[]]
  let last: Sample | undefined
  for (const s of samples) {
    if (Number.isNaN(s.value) || (last && s.at - last.at > patience)) list.push([])
    if (!Number.isNaN(s.value)) list.at(-1)!.push((last = s))
  }
  return list.filter((l) => l.length)
}
