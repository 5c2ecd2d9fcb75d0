import { expect, test } from 'vitest'
import type { Schemas } from '../api/client'
import { asked, draftOfTemplate, found, offeredPoints, orderParameter, probeOf, requestOf, type Template } from './instruments'

const words = (zh: string, en: string) => ({ zh, en })
const template = (id: string, brand: string, kind: string, zh: string, en: string): Template => ({
  id, brand, kind, name: words(zh, en), driver: 'modbus', outlet_kind: 'dust', own: false, limits: [],
  parameters: [
    { name: 'address', type: 'modbus', label: words('地址', 'Address') },
    { name: 'unit', type: 'integer', label: words('单元号', 'Unit'), default: 1 },
    { name: 'order', type: 'choice', label: words('顺序', 'Order'), default: 'ABCD', choices: [{ value: 'ABCD' }, { value: 'CDAB' }] },
    { name: 'key', type: 'secret', label: words('密码', 'Password'), optional: true },
  ],
  points: [{ id: 'pm10', name: words('PM10', 'PM10'), factor: 'a34002', unit: 'ug/m3', digits: 0, binding: {} as never }],
})
const list = [
  template('modbus-value', 'generic', 'generic', '通用 Modbus 数值', 'Generic Modbus value'),
  template('dust-noise-station', 'generic', 'dust_noise_station', '扬尘噪声监测站', 'Dust and noise station'),
  template('sdm630', 'Eastron', 'power_meter', '三相电表', 'Three-phase power meter'),
]
const ids = (wanted: Partial<Parameters<typeof found>[1]>) => found(list, { words: '', brand: '', kind: '', ...wanted }, (k) => (k === 'power_meter' ? '电表' : k)).map((x) => x.id)

test('templates are found in both languages, by brand and by kind', () => {
  expect(ids({})).toEqual(['sdm630', 'dust-noise-station', 'modbus-value'])
  expect(ids({ words: '扬尘' })).toEqual(['dust-noise-station'])
  expect(ids({ words: 'NOISE dust' })).toEqual(['dust-noise-station'])
  expect(ids({ words: 'value' })).toEqual(['modbus-value'])
  expect(ids({ words: 'modbus 电表' })).toEqual(['sdm630'])
  expect(ids({ brand: 'Eastron' })).toEqual(['sdm630'])
  expect(ids({ kind: 'generic' })).toEqual(['modbus-value'])
  expect(ids({ words: 'nothing-like-it' })).toEqual([])
})

test('a form begins with defaults and sends what was filled, each by its type', () => {
  const d = draftOfTemplate(list[1]!)
  expect(d['parameters.unit']).toBe('1')
  Object.assign(d, { 'parameters.address': ' 10.0.0.7 ', 'parameters.unit': '3', 'parameters.key': ' s ', site: 's', device: 'dust-1', limits: ['h'] })
  expect(requestOf(list[1]!, d, 'gate', 'zh', true)).toEqual({
    outlet: 'gate', site: 's', device: 'dust-1', language: 'zh', limits: ['h'], take_over: true,
    parameters: { address: '10.0.0.7', unit: 3, order: 'ABCD', key: ' s ' },
  })
  d['parameters.unit'] = 'three'
  expect(requestOf(list[1]!, d, 'gate', 'en', false).parameters).toMatchObject({ unit: 'three' })
})

test('points may be left out, also of those that repeat', () => {
  const x = { ...list[1]!, points: [list[1]!.points[0]!, { ...list[1]!.points[0]!, id: 'gas-${n}', name: words('${n} 路', 'Channel ${n}'), repeat: '${unit}' }] } as Template
  const d = { ...draftOfTemplate(x), 'parameters.unit': '2' }
  expect(offeredPoints(x, d).map((p) => p.id + ' ' + p.name.zh)).toEqual(['pm10 PM10', 'gas-1 1 路', 'gas-2 2 路'])
  expect(requestOf(x, d, 'gate', 'zh', false)).not.toHaveProperty('points')
  expect(requestOf(x, { ...d, without: ['gas-1'] }, 'gate', 'zh', false).points).toEqual([{ point: 'pm10' }, { point: 'gas-2' }])
})

test('a test sends the password that was typed, not its mask', () => {
  const d = { ...draftOfTemplate(list[1]!), 'parameters.key': 'typed' }
  const drawn = { device: { password: '[redacted]', endpoint: 'mqtt://a' }, points: [], bindings: [], limits: [] } as unknown as Schemas['TemplateResult']
  expect(probeOf(list[1]!, d, drawn).device).toEqual({ password: 'typed', endpoint: 'mqtt://a' })
})

test('what has no default is asked first, the order of words is found', () => {
  expect(list[0]!.parameters.filter(asked).map((p) => p.name)).toEqual(['address', 'unit'])
  expect(orderParameter(list[0]!)?.name).toBe('order')
})
