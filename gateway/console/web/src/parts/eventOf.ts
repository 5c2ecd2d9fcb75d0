import { figure, unitText } from '../format'
import { t, word } from '../i18n'
import type { Condition } from '../live/condition'
import type { Event } from '../live/reduce'
import { useRegistry } from '../stores/registry'

/** levelOf gives how grave an event is; a camera's has no level but its kind. */
export const levelOf = (e: Event): Condition => ({ state: 'alarm', level: e.camera ? e.kind : e.level })

/** placeOf names the camera whose event it is, else the outlet. */
export const placeOf = (e: Event): string => (e.camera ? useRegistry().nameOf('cameras', e.camera) : useRegistry().nameOf('outlets', e.outlet))

/** titleOf names where an event is and of what. */
export const titleOf = (e: Event): string => `${placeOf(e)} · ${e.camera ? word('fault', e.limit) : useRegistry().nameOf('points', e.point)}`

/** briefOf says an event in a line to whoever sees where it is. */
export function briefOf(e: Event): string {
  if (e.camera) return `${word('level', e.kind)} · ${word('fault', e.limit)}`
  return `${word('level', e.level)} · ${useRegistry().nameOf('points', e.point)} ${figure(e.value)} ${unitText(e.unit)}`
}

/** endOf says why an event is over; a camera has no value that recovers. */
export function endOf(e: Event): string {
  if (!e.camera || e.end_reason !== 'recovered') return word('end', e.end_reason)
  return t(e.factor ? 'events.endTold' : 'events.endPicture')
}
