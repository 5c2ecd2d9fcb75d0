import { expect, test } from 'vitest'
import type { Lists, Things } from '../stores/registry'
import { fieldTime } from '../format'
import { bodyOf, draftOf, place, suggestId, visible, withoutSecrets } from './draft'
import type { Draft } from './fields'

const meta = { version: 3, created_at: '2026-01-01T00:00:00.123Z', updated_at: '2026-01-01T00:00:00.123Z' }
const binding: Things['bindings'] = {
  id: 'b', point: 'gate.pm10', device: 'plc', from: '2026-01-01T00:00:00.123Z', register: { table: 'holding', address: 0, type: 'float32' }, scale: 0.1, ...meta,
}
const nothing: Lists = { entities: [], sites: [], outlets: [], points: [], devices: [], bindings: [], cameras: [], limits: [] }

test('what was not touched goes back as it came', () => {
  const d = { ...draftOf('bindings', binding), '~driver': 'modbus' }
  expect(bodyOf('bindings', d, binding).body).toEqual({
    id: 'b', point: 'gate.pm10', device: 'plc', from: '2026-01-01T00:00:00.123Z', register: { table: 'holding', address: 0, type: 'float32' }, scale: 0.1, version: 3,
  })
})

test('fields that do not count are not sent', () => {
  const d = { ...draftOf('bindings', binding), '~driver': 'broker', 'topic.path': 'pm10 ' }
  expect(bodyOf('bindings', d, binding).body).toMatchObject({ topic: { path: 'pm10' } })
  expect(bodyOf('bindings', d, binding).body).not.toHaveProperty('register')
})

test('what no field shows stays, unless it no longer belongs', () => {
  const device = { id: 'd', site: 's', name: 'n', driver: 'modbus', endpoint: 'modbus://a', modbus: { unit: 1, of_later: { x: 1 } }, later: [1], ...meta } as unknown as Things['devices']
  const d = draftOf('devices', device)
  expect(bodyOf('devices', { ...d, name: 'm' }, device).body).toEqual({
    id: 'd', site: 's', name: 'm', driver: 'modbus', endpoint: 'modbus://a', modbus: { unit: 1, of_later: { x: 1 } }, later: [1], version: 3,
  })
  expect(bodyOf('devices', { ...d, driver: 'broker' }, device).body).toEqual({ id: 'd', site: 's', name: 'n', driver: 'broker', later: [1], version: 3 })
})

test('serial lines and labels are read', () => {
  const d = { ...draftOf('devices'), id: 'p', site: 's', name: 'n', driver: 'modbus', endpoint: 'modbus+rtu:///dev/ttyUSB0', 'modbus.serial.baud': '19200', 'modbus.serial.stop_bits': '2' }
  expect(bodyOf('devices', d).body.modbus).toEqual({ unit: 1, serial: { baud: 19200, stop_bits: 2 } })
  const p = { ...draftOf('points'), '~outlet': 'o', id: 'run', name: '运行', factor: 'run' }
  expect(bodyOf('points', { ...p, labels: '0=停, 1 = 运行；' }).body.labels).toEqual([{ value: 0, text: '停' }, { value: 1, text: '运行' }])
  expect(bodyOf('points', { ...p, labels: '0=停, 运行' }).notNumbers).toEqual(['labels'])
})

test('a data logger has its identity, a binding to it a factor', () => {
  const d = { ...draftOf('devices'), id: 'l', site: 's', name: 'n', driver: 'hj212', 'hj212.mn': '010000A8900016F000169DC0', 'hj212.tolerant': 'true', 'hj212.st': '31, 32' }
  expect(bodyOf('devices', d).body).toMatchObject({ driver: 'hj212', hj212: { mn: '010000A8900016F000169DC0', tolerant: true, st: ['31', '32'] } })
  const b = { ...draftOf('bindings'), '~driver': 'hj212', id: 'b', point: 'o.p', device: 'l', 'factor.code': 'a34002' }
  expect(bodyOf('bindings', b).body).toEqual({ id: 'b', point: 'o.p', device: 'l', factor: { code: 'a34002' } })
})

test('a coil is a bit', () => {
  const d = { ...draftOf('bindings'), '~driver': 'modbus', id: 'b', point: 'o.p', device: 'd', 'register.table': 'coil', 'register.address': '3' }
  expect(bodyOf('bindings', d).body.register).toEqual({ table: 'coil', address: 3, type: 'bit' })
})

test('a new device says only what was filled', () => {
  const d = { ...draftOf('devices'), id: 'plc', site: 's', name: ' PLC ', driver: 'modbus', endpoint: 'modbus://10.0.0.1:502', 'modbus.unit': '7' }
  expect(bodyOf('devices', d).body).toEqual({ id: 'plc', site: 's', name: 'PLC', driver: 'modbus', endpoint: 'modbus://10.0.0.1:502', modbus: { unit: 7 } })
})

test('a password left empty is not sent, a typed one as it is', () => {
  const device = { id: 'd', site: 's', name: 'n', driver: 'broker', password: '[redacted]', ...meta } as Things['devices']
  const d = draftOf('devices', device)
  expect(d.password).toBe('')
  expect(bodyOf('devices', d, device).body).not.toHaveProperty('password')
  expect(bodyOf('devices', { ...d, password: ' x ' }, device).body.password).toBe(' x ')
})

test('a point is named within its outlet', () => {
  const d = { ...draftOf('points'), '~outlet': 'gate', id: 'pm10', name: 'PM10', factor: 'a34002', digits: '0', min: '', max: '2000' }
  expect(bodyOf('points', d).body).toEqual({ id: 'gate.pm10', name: 'PM10', factor: 'a34002', digits: 0, max: 2000 })
})

test('what is no number is told, commas are read', () => {
  const d = { ...draftOf('limits'), point: 'gate.pm10', value: 'many', deadband: '0,5' }
  const { body, notNumbers } = bodyOf('limits', d)
  expect(notNumbers).toEqual(['value'])
  expect(body).toMatchObject({ level: 'H', averaging: 'instant', deadband: 0.5 })
})

test('times keep their minute through a field', () => {
  const local = fieldTime('2026-03-01T05:06:07Z')
  const d = { ...draftOf('limits'), valid_from: local }
  expect(bodyOf('limits', d).body.valid_from).toBe('2026-03-01T05:06:00.000Z')
})

test('problems stand beside the field that they name', () => {
  const shown = visible('devices', { driver: 'modbus' })
  const problem = (field: string) => ({ field, code: 'c', zh: field, en: field })
  const { beside, above } = place(shown, ['modbus.unit', 'name', 'modbus', 'period', '', 'mqtt.qos', 'name'].map(problem))
  expect([...beside.keys()]).toEqual(['modbus.unit', 'name', 'period'])
  expect(above.map((p) => p.field)).toEqual(['modbus', '', 'mqtt.qos', 'name'])
  expect([...place(shown, [problem('modbus')]).beside.keys()]).toEqual(['modbus.unit'])
  expect([...place(visible('sites', {}), [problem('entities[0].role')]).beside.keys()]).toEqual(['entities'])
})

test('suggested ids are free and speak', () => {
  const lists = { ...nothing, sites: [{ id: 'site-1' }, { id: 'dock-a' }], points: [{ id: 'gate.pm10' }] } as Lists
  expect(suggestId('sites', { name: '码头' }, lists)).toBe('site-2')
  expect(suggestId('sites', { name: 'Dock A' }, lists)).toBe('dock-a-2')
  expect(suggestId('sites', { name: 'Dock A' }, lists, new Set(['dock-a-2']))).toBe('dock-a-3')
  expect(suggestId('points', { name: 'PM10', '~outlet': 'gate' }, lists)).toBe('pm10-2')
  expect(suggestId('points', { name: 'PM10', '~outlet': 'yard' }, lists)).toBe('pm10')
  expect(suggestId('points', { name: '液位', factor: 'level', '~outlet': 'tank' }, lists)).toBe('level')
  expect(suggestId('bindings', { point: 'gate.pm10' }, lists)).toBe('gate-pm10')
  expect(suggestId('limits', { '~applies': 'onePoint', point: 'gate.pm10', level: 'HH' }, lists)).toBe('gate-pm10-hh')
  expect(suggestId('limits', { '~applies': 'manyPoints', outlet_kind: 'gas_area', factor: 'lel', level: 'H' }, lists)).toBe('gas-area-lel-h')
})

const kept = [
  { name: 'a secret field', draft: { name: 'A', password: 'x' }, want: { draft: { name: 'A', password: '' }, missing: ['password'] } },
  { name: 'a secret field that is empty', draft: { password: '' }, want: { draft: { password: '' }, missing: [] } },
  { name: 'a password in an address', draft: { url: 'rtsp://u:p@10.0.0.1/a' }, want: { draft: { url: 'rtsp://10.0.0.1/a' }, missing: ['url'] } },
  { name: 'an address', draft: { url: 'rtsp://10.0.0.1/a@b' }, want: { draft: { url: 'rtsp://10.0.0.1/a@b' }, missing: [] } },
  { name: 'a list', draft: { outlets: ['a'] }, want: { draft: { outlets: ['a'] }, missing: [] } },
]
test.each(kept)('a stored draft has no secrets: $name', ({ draft, want }) => expect(withoutSecrets(draft as unknown as Draft, ['password'])).toEqual(want))
