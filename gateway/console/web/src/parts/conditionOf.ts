import { milliseconds } from '../format'
import { condition, type Condition } from '../live/condition'
import { useLive } from '../stores/live'
import { useRegistry } from '../stores/registry'

/** conditionOf gathers what is known of a point and says how it stands. */
export function conditionOf(point: string): Condition {
  const live = useLive()
  const registry = useRegistry()
  const binding = registry.bindingOf.get(point)
  const device = binding && registry.find('devices', binding.device)
  return condition(point, {
    last: live.state.readings.get(point),
    device: binding && live.state.devices.get(binding.device),
    bound: !!binding,
    periodMs: device?.driver === 'modbus' && device.period ? milliseconds(device.period) || 0 : 0,
    events: live.state.events,
    now: live.now,
    deaf: live.link === 'lost' && live.now - live.lastHeard > 5000,
  })
}
