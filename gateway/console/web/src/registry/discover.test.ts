import { expect, test } from 'vitest'
import { locale, spoken } from '../i18n'
import { adoptOf, deviceOf, draftOfDiscovery, endpointOf, keyOf, pickOf, type Source } from './discover'

const source = (over: Partial<Source>): Source => ({ kind: 'topic', name: 't', at: '', offers: [], ...over })
const offer = (name: string, path: string, topic = 'tele/x/SENSOR') => ({ name, topic: { topic, path }, factor: 'a01001', unit: '℃', digits: 1, value: 21 })
const lists = { entities: [], sites: [], outlets: [{ id: 'gate', site: 'a', name: '门', kind: 'dust' }], points: [{ id: 'gate.temperature' }], devices: [], bindings: [], cameras: [], limits: [] } as never

test('an address gets its scheme', () => {
  const d = draftOfDiscovery()
  expect(endpointOf('mqtt', { ...d, address: ' 10.0.0.1 ' })).toBe('mqtt://10.0.0.1')
  expect(endpointOf('mqtt', { ...d, address: 'b:8883', tls: 'yes' })).toBe('mqtts://b:8883')
  expect(endpointOf('modbus', { ...d, address: '/dev/ttyUSB0' })).toBe('modbus+rtu:///dev/ttyUSB0')
  expect(endpointOf('modbus', { ...d, address: 'modbus+ascii://x:1' })).toBe('modbus+ascii://x:1')
})

test('what is ticked has a name for people and ids that are free', () => {
  const s = source({ kind: 'topic', name: 'tele/x/SENSOR' })
  const picked = [pickOf(s, offer('AM2301.Temperature', 'AM2301.Temperature')), pickOf(s, offer('BME.Temperature', 'BME.Temperature'))]
  expect(picked.map((p) => p.name)).toEqual(['Temperature', 'Temperature'])
  const d = { ...draftOfDiscovery(), address: '10.0.0.1', name: '大厅', outlet: 'gate' }
  const r = adoptOf(d, picked, lists, new Set())
  expect(r.points.map((p) => p.id)).toEqual(['temperature-2', 'temperature-3'])
  expect(r.outlet).toBe('gate')
  expect(r.devices![0]).toMatchObject({ id: 'device-1', site: 'a', name: '大厅', driver: 'mqtt', endpoint: 'mqtt://10.0.0.1' })
  expect(adoptOf(d, picked, lists, new Set(['device-1'])).devices![0]!.id).toBe('device-2')
})

test('a value of a registered device makes no new one', () => {
  const own = [pickOf(source({ name: 'offsite/pm-1/pm10', device: 'pm-1' }), offer('offsite/pm-1/pm10', ''))]
  const r = adoptOf({ ...draftOfDiscovery(), outlet: '+', outletName: '新点位', site: 'a' }, own, lists, new Set())
  expect(own[0]!.name).toBe('pm10')
  expect(r.devices).toBeUndefined()
  expect(r.points[0]).toMatchObject({ device: 'pm-1', id: 'pm10' })
  expect(r.new_outlet).toMatchObject({ id: 'outlet-1', site: 'a', name: '新点位', kind: 'other' })
})

test('the last will of a device comes along where all is its own', () => {
  const status = { topic: 'tele/x/LWT' }
  const hall = source({ kind: 'home_assistant', name: 'Hall', status })
  const d = { ...draftOfDiscovery(), outlet: 'gate', name: 'Hall' }
  const [one, two] = [pickOf(hall, offer('Inner temperature', 'a')), pickOf(source({}), offer('b', 'b'))]
  expect(one!.name).toBe('Inner temperature')
  expect(adoptOf(d, [one!], lists, new Set()).devices![0]).toMatchObject({ mqtt: { status } })
  expect(adoptOf(d, [one!, two!], lists, new Set()).devices![0]).not.toHaveProperty('mqtt')
})

test('several that announce themselves are a device each, and the rest is one', () => {
  const of = (name: string) => source({ kind: 'home_assistant', name, status: { topic: name + '/LWT' } })
  const picked = [pickOf(of('Hall'), offer('T', 'a', 'hall/s')), pickOf(of('Yard'), offer('T', 'a', 'yard/s')), pickOf(source({}), offer('c', 'c', 'x/y')), pickOf(of('Hall'), offer('H', 'h', 'hall/s'))]
  const r = adoptOf({ ...draftOfDiscovery(), outlet: 'gate', name: 'Rest' }, picked, lists, new Set())
  expect(r.devices!.map((x) => x.name)).toEqual(['Hall', 'Yard', 'Rest'])
  const [hall, yard, rest] = r.devices!.map((x) => x.id as string)
  expect(new Set([hall, yard, rest]).size).toBe(3)
  expect(r.points.map((p) => p.device)).toEqual([hall, yard, rest, hall])
  expect(r.devices![0]).toMatchObject({ mqtt: { status: { topic: 'Hall/LWT' } } })
  expect(r.devices![2]).not.toHaveProperty('mqtt')
})

test('a factor of a data logger is bound by its place and named by what it measures', async () => {
  const logger = source({ kind: 'logger', name: 'M1', device: 'logger-1' })
  const at = (code: string, kind: 'realtime' | 'minute' | 'hour', field: string, zh: string, en: string) => ({ name: code + '-' + field, zh, en, place: { code, kind, field }, factor: code, unit: 'mg/L', digits: 1, value: 2 })
  const offers = [at('w01018', 'realtime', 'Rtd', 'COD', 'COD'), at('w21003', 'minute', 'Avg', '氨氮', 'Ammonia nitrogen'), at('w21003', 'hour', 'ZsXx', '氨氮', 'Ammonia nitrogen')]
  locale.value = 'zh-CN'
  expect(offers.map((o) => pickOf(logger, o).name)).toEqual(['COD', '氨氮 分钟 均值', '氨氮 小时 ZsXx'])
  locale.value = 'en'
  await spoken()
  expect(pickOf(logger, offers[1]!).name).toBe('Ammonia nitrogen minute mean')
  locale.value = 'zh-CN'
  expect(new Set(offers.map((o) => keyOf(logger, o))).size).toBe(3)
  const r = adoptOf({ ...draftOfDiscovery(), outlet: 'gate' }, offers.map((o) => pickOf(logger, o)), lists, new Set())
  expect(r.devices).toBeUndefined()
  expect(r.points[1]).toMatchObject({ device: 'logger-1', factor: 'w21003', place: { code: 'w21003', kind: 'minute', field: 'Avg' } })
  expect(r.points[1]).not.toHaveProperty('topic')
  expect(deviceOf('hj212', draftOfDiscovery(), 'a')).toEqual({ driver: 'hj212' })
})
