import { condition, type Condition, type Facts, silent } from '../live/condition'
import { useLive } from '../stores/live'
import { useRegistry } from '../stores/registry'

/** conditionOf says how a point stands. */
export const conditionOf = (point: string): Condition => condition(point, factsOf(point))

/** silentOf says whether nothing new has come of a point for too long, also while an alarm hides it. */
export const silentOf = (point: string): boolean => silent(point, factsOf(point))

function factsOf(point: string): Facts {
  const live = useLive()
  const registry = useRegistry()
  const binding = registry.bindingOf.get(point)
  return {
    last: live.state.readings.get(point),
    device: binding && live.state.devices.get(binding.device),
    bound: !!binding,
    events: live.state.events,
    now: live.now,
    deaf: live.link === 'lost' && live.now - live.lastHeard > 5000,
  }
}
