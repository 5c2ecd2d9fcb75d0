import type { Schemas } from '../api/client'
import { active, type Event } from '../live/reduce'
import { concerns } from '../parts/eventFilter'

/** Alarms that nobody has acknowledged yet and that go on: these sound. */
export const sounding = (e: Event): boolean => e.state === 'unacknowledged'

/** alarmsOf gives each camera its own events that go on, and those of points at the outlets it watches, those that sound first. */
export function alarmsOf(cameras: Schemas['Camera'][], events: Event[]): Map<string, Event[]> {
  const list = events.filter(active).sort((a, b) => Number(sounding(b)) - Number(sounding(a)))
  const byCamera = cameras.map((c) => [c.id, list.filter((e) => concerns(c, e))] as const)
  return new Map(byCamera.filter(([, es]) => es.length))
}
