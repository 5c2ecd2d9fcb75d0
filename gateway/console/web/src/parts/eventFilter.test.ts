import { expect, test } from 'vitest'
import type { Schemas } from '../api/client'
import type { Event } from '../live/reduce'
import { addressOf, askOf, type EventFilter, filterOf, fits } from './eventFilter'

test('the address keeps the filter and nothing else', () => {
  const f = filterOf({ show: 'open', camera: 'cam-1', what: 'camera_lost', from: '2026-03-01', to: 'tomorrow', site: ['a', 'b'] })
  expect(f).toEqual({ show: 'open', site: '', point: '', camera: 'cam-1', device: '', what: 'camera_lost', from: '2026-03-01', to: '' })
  expect(addressOf(f)).toEqual({ show: 'open', camera: 'cam-1', what: 'camera_lost', from: '2026-03-01' })
  expect(filterOf(addressOf(f))).toEqual(f)
  expect(addressOf(filterOf({ show: 'ajar', from: '2026-99-01' }))).toEqual({})
})

test('the gateway is asked for whole days by the reader’s clock', () => {
  const q = askOf(filterOf({ show: 'closed', device: 'plc', from: '2026-03-01', to: '2026-03-02' }))
  expect(Object.fromEntries(q)).toEqual({
    state: 'closed', device: 'plc', from: new Date('2026-03-01T00:00+08:00').toISOString(), to: new Date('2026-03-03T00:00+08:00').toISOString(),
  })
})

const value = { point: 'o1.x', outlet: 'o1', site: 's', limit: 'camera_lost', state: 'unacknowledged', started_at: new Date('2026-03-01T23:59:59+08:00').toISOString() } as Event
const lost = { ...value, point: '', outlet: 'o1', camera: 'c2' } as Event
const smoke = { ...lost, limit: 'recognised_smoke', state: 'returned_unacknowledged' } as Event
const known = {
  camera: (id: string) => (id === 'c1' ? ({ id, outlets: ['o1'] } as Schemas['Camera']) : undefined),
  deviceOf: (p: string) => (p === 'o1.x' ? 'plc' : undefined),
}
test.each<[string, Partial<EventFilter>, boolean[]]>([
  ['nothing chosen', {}, [true, true, true]],
  ['open', { show: 'open' }, [true, true, false]],
  ['unacknowledged', { show: 'unacknowledged' }, [true, true, true]],
  ['breach', { what: 'breach' }, [true, false, false]],
  ['camera', { what: 'camera' }, [false, true, false]],
  ['a rule, not a limit of that name', { what: 'camera_lost' }, [false, true, false]],
  ['recognised', { what: 'recognised' }, [false, false, true]],
  ['a camera that watches the outlet', { camera: 'c1' }, [true, false, false]],
  ['a camera that is retired', { camera: 'c2' }, [false, true, true]],
  ['the device', { device: 'plc' }, [true, false, false]],
  ['another device', { device: 'other' }, [false, false, false]],
  ['the day', { from: '2026-03-01', to: '2026-03-01' }, [true, true, true]],
  ['the day after', { from: '2026-03-02' }, [false, false, false]],
  ['the day before', { to: '2026-02-28' }, [false, false, false]],
])('%s', (_, part, want) => expect([value, lost, smoke].map((e) => fits({ ...filterOf({}), ...part }, e, known))).toEqual(want))
