import type { Key } from '../i18n'
import type { Kind } from '../stores/registry'

/** What a form holds while it is being filled: one entry a field, as it was typed. */
export interface Draft {
  [path: string]: string | string[] | Role[]
}
export interface Role {
  entity: string
  role: string
}

/** One field of a form. Its path is that of the API's JSON, so that problems find it. */
export interface Field {
  path: string
  label: Key
  hint?: Key
  kind: 'text' | 'number' | 'secret' | 'time' | 'select' | 'thing' | 'things' | 'marks' | 'labels' | 'roles'
  choices?: readonly string[] // of a select; words are those of option.*, or of `words`
  words?: string // group of the choices' words
  empty?: Key // a select that may stay empty says so by this word
  of?: Kind // what a thing is chosen from
  required?: boolean
  fixed?: boolean // chosen at creation for ever
  aside?: boolean // not sent as it is: finish makes something of it
  more?: boolean // seldom needed
  when?: (d: Draft) => boolean
  suggest?: readonly string[]
}

const id: Field = { path: 'id', label: 'field.id', hint: 'field.idHint', kind: 'text', required: true, fixed: true }
const name: Field = { path: 'name', label: 'field.name', kind: 'text', required: true }
const site: Field = { path: 'site', label: 'field.site', kind: 'thing', of: 'sites', required: true }

const modbus = (d: Draft) => d.driver === 'modbus'
const mqtt = (d: Draft) => d.driver === 'mqtt'
const broker = (d: Draft) => d.driver === 'broker'
const hj212 = (d: Draft) => d.driver === 'hj212'
const wide = (d: Draft) => ['int32', 'uint32', 'int64', 'uint64', 'float32', 'float64', 'bcd32', 'string'].includes(String(d['register.type']))
const serial = (d: Draft) => modbus(d) && String(d.endpoint).includes(':///')
const register = (d: Draft) => d['~driver'] === 'modbus'
const words = (d: Draft) => register(d) && !['coil', 'discrete'].includes(String(d['register.table']))
const settable = (d: Draft) => register(d) && ['holding', 'coil'].includes(String(d['register.table']))
const topic = (d: Draft) => d['~driver'] === 'mqtt' || d['~driver'] === 'broker'
const packet = (d: Draft) => d['~driver'] === 'hj212'
const one = (d: Draft) => d['~applies'] !== 'manyPoints'
const many = (d: Draft) => d['~applies'] === 'manyPoints'

export const outletKinds = ['dust', 'noise', 'waste_water', 'flue_gas', 'tank', 'gas_area', 'ambient', 'other'] as const
const factors = ['a34001', 'a34002', 'a34004', 'Leq', 'level', 'pressure', 'temperature', 'lel', 'w01018', 'w21003'] as const

/** The fields of each kind, in the order in which people know them. */
export const fields: Record<Kind, Field[]> = {
  entities: [
    name,
    { path: 'uscc', label: 'field.uscc', kind: 'text', required: true },
    { path: 'region_code', label: 'field.region_code', hint: 'field.region_codeHint', kind: 'text', required: true },
    id,
  ],
  sites: [
    name,
    { path: 'kind', label: 'field.kind', kind: 'select', choices: ['construction', 'chemical', 'kitchen', 'plant', 'other'], required: true },
    { path: 'address', label: 'field.address', kind: 'text' },
    { path: 'entities', label: 'field.entities', kind: 'roles' },
    id,
    { path: 'lon', label: 'field.lon', kind: 'number', more: true },
    { path: 'lat', label: 'field.lat', kind: 'number', more: true },
  ],
  outlets: [site, name, { path: 'kind', label: 'field.kind', kind: 'select', choices: outletKinds, required: true }, id],
  points: [
    { path: '~outlet', label: 'field.outlet', kind: 'thing', of: 'outlets', required: true, fixed: true, aside: true },
    name,
    { path: 'factor', label: 'field.factor', hint: 'field.factorHint', kind: 'text', required: true, suggest: factors },
    { path: 'unit', label: 'field.unit', kind: 'text', suggest: ['ug/m3', 'mg/m3', 'mg/L', 'dB(A)', '%LEL', 'm', 'kPa', 'MPa', '°C'] },
    { path: 'digits', label: 'field.digits', kind: 'number', required: true },
    { path: 'id', label: 'field.pointLocal', hint: 'field.pointLocalHint', kind: 'text', required: true, fixed: true },
    { path: 'min', label: 'field.min', kind: 'number', more: true },
    { path: 'max', label: 'field.max', kind: 'number', more: true },
    { path: 'labels', label: 'field.labels', hint: 'field.labelsHint', kind: 'labels', more: true },
  ],
  devices: [
    site,
    name,
    { path: 'driver', label: 'field.driver', kind: 'select', choices: ['broker', 'modbus', 'mqtt', 'hj212'], required: true },
    { path: 'endpoint', label: 'field.address', hint: 'field.endpointHint.modbus', kind: 'text', required: true, when: modbus },
    { path: 'endpoint', label: 'field.address', hint: 'field.endpointHint.mqtt', kind: 'text', required: true, when: mqtt },
    { path: 'modbus.unit', label: 'field.modbus.unit', kind: 'number', required: true, when: modbus },
    { path: 'username', label: 'field.username', kind: 'text', when: mqtt },
    { path: 'password', label: 'field.password', kind: 'secret', when: mqtt },
    { path: 'password', label: 'field.password', hint: 'field.brokerPasswordHint', kind: 'secret', when: broker },
    { path: 'hj212.mn', label: 'field.hj212.mn', hint: 'field.hj212.mnHint', kind: 'text', required: true, when: hj212 },
    { path: 'password', label: 'field.password', hint: 'field.hj212.passwordHint', kind: 'secret', when: hj212 },
    { path: 'hj212.version', label: 'field.hj212.version', kind: 'select', choices: ['2005', '2017', '2025'], words: 'edition', empty: 'option.auto', when: hj212 },
    { path: 'hj212.tolerant', label: 'field.hj212.tolerant', kind: 'select', choices: ['true'], words: 'tolerant', empty: 'option.strict', when: hj212, more: true },
    { path: 'hj212.st', label: 'field.hj212.st', hint: 'field.hj212.stHint', kind: 'marks', when: hj212, more: true },
    { path: 'hj212.sm4_key', label: 'field.hj212.sm4_key', hint: 'field.hj212.sm4_keyHint', kind: 'secret', when: hj212, more: true },
    id,
    { path: 'period', label: 'field.period', hint: 'field.periodHint', kind: 'text', when: modbus, more: true },
    { path: 'period', label: 'field.heartbeat', hint: 'field.heartbeatHint', kind: 'text', when: (d) => !!d.driver && !modbus(d), more: true },
    { path: 'timeout', label: 'field.timeout', hint: 'field.timeoutHint', kind: 'text', when: modbus, more: true },
    { path: 'modbus.gap', label: 'field.modbus.gap', hint: 'field.modbus.gapHint', kind: 'number', when: modbus, more: true },
    { path: 'modbus.size', label: 'field.modbus.size', hint: 'field.modbus.sizeHint', kind: 'number', when: modbus, more: true },
    { path: 'modbus.pause', label: 'field.modbus.pause', hint: 'field.delayHint', kind: 'text', when: modbus, more: true },
    { path: 'modbus.settle', label: 'field.modbus.settle', hint: 'field.delayHint', kind: 'text', when: modbus, more: true },
    { path: 'modbus.serial.baud', label: 'field.modbus.serial.baud', hint: 'field.modbus.serial.baudHint', kind: 'number', when: serial },
    { path: 'modbus.serial.parity', label: 'field.modbus.serial.parity', kind: 'select', choices: ['none', 'even', 'odd'], words: 'parity', empty: 'option.usual', when: serial },
    { path: 'modbus.serial.data_bits', label: 'field.modbus.serial.data_bits', kind: 'select', choices: ['8', '7'], words: 'count', empty: 'option.usual', when: serial, more: true },
    { path: 'modbus.serial.stop_bits', label: 'field.modbus.serial.stop_bits', kind: 'select', choices: ['1', '2'], words: 'count', empty: 'option.usual', when: serial, more: true },
    { path: 'mqtt.client_id', label: 'field.mqtt.client_id', hint: 'field.mqtt.client_idHint', kind: 'text', when: mqtt, more: true },
    { path: 'mqtt.share', label: 'field.mqtt.share', kind: 'text', when: mqtt, more: true },
    { path: 'mqtt.qos', label: 'field.mqtt.qos', kind: 'select', choices: ['1', '0'], words: 'count', empty: 'option.usual', when: mqtt, more: true },
  ],
  bindings: [
    { path: 'point', label: 'field.point', kind: 'thing', of: 'points', required: true },
    { path: 'device', label: 'field.device', kind: 'thing', of: 'devices', required: true },
    { path: 'register.table', label: 'field.register.table', kind: 'select', choices: ['holding', 'input', 'coil', 'discrete'], required: true, when: register },
    { path: 'register.address', label: 'field.register.address', hint: 'field.register.addressHint', kind: 'number', required: true, when: register },
    {
      path: 'register.type', label: 'field.register.type', kind: 'select', required: true, when: words,
      choices: ['float32', 'int16', 'uint16', 'int32', 'uint32', 'int64', 'uint64', 'float64', 'bcd16', 'bcd32', 'bit', 'bits', 'string'],
    },
    {
      path: 'register.order', label: 'field.register.order', hint: 'field.register.orderHint', kind: 'select', empty: 'option.usual',
      choices: ['ABCD', 'CDAB', 'BADC', 'DCBA'], when: (d) => words(d) && wide(d),
    },
    { path: 'register.bit', label: 'field.register.bit', hint: 'field.register.bitHint', kind: 'number', when: (d) => words(d) && ['bit', 'bits'].includes(String(d['register.type'])) },
    { path: 'register.width', label: 'field.register.width', kind: 'number', required: true, when: (d) => words(d) && d['register.type'] === 'bits' },
    { path: 'register.length', label: 'field.register.length', hint: 'field.register.lengthHint', kind: 'number', required: true, when: (d) => words(d) && d['register.type'] === 'string' },
    { path: 'factor.code', label: 'field.factor.code', hint: 'field.factor.codeHint', kind: 'text', required: true, when: packet, suggest: factors },
    { path: 'factor.kind', label: 'field.factor.kind', kind: 'select', choices: ['realtime', 'minute', 'hour', 'day'], words: 'data', empty: 'option.usual', when: packet },
    { path: 'factor.field', label: 'field.factor.field', hint: 'field.factor.fieldHint', kind: 'text', when: packet, more: true },
    { path: 'topic.path', label: 'field.topic.path', hint: 'field.topic.pathHint', kind: 'text', when: topic },
    { path: 'topic.topic', label: 'field.topic.topic', hint: 'field.topic.topicHint', kind: 'text', when: topic },
    { path: 'topic.instance', label: 'field.topic.instance', hint: 'field.topic.instanceHint', kind: 'text', when: topic, more: true },
    { path: 'topic.each', label: 'field.topic.each', hint: 'field.topic.eachHint', kind: 'text', when: topic, more: true },
    { path: 'topic.time_path', label: 'field.topic.time_path', hint: 'field.topic.time_pathHint', kind: 'text', when: topic, more: true },
    {
      path: 'topic.time_format', label: 'field.topic.time_format', kind: 'select', choices: ['rfc3339', 'unix', 'unix_ms'], empty: 'option.auto',
      when: topic, more: true,
    },
    {
      path: 'topic.zone', label: 'field.topic.zone', hint: 'field.topic.zoneHint', kind: 'select', choices: ['Asia/Shanghai', 'Asia/Urumqi', 'UTC'], words: 'zone', empty: 'zone.none',
      when: topic, more: true,
    },
    { path: 'scale', label: 'field.scale', hint: 'field.scaleHint', kind: 'number' },
    { path: 'offset', label: 'field.offset', kind: 'number' },
    { path: 'write.low', label: 'field.write.low', hint: 'field.write.hint', kind: 'number', when: settable, more: true },
    { path: 'write.high', label: 'field.write.high', kind: 'number', when: settable, more: true },
    id,
    { path: 'from', label: 'field.from', hint: 'field.fromHint', kind: 'time', more: true },
    { path: 'to', label: 'field.to', kind: 'time', more: true },
  ],
  cameras: [
    site,
    name,
    { path: 'url', label: 'field.url', hint: 'field.urlHint', kind: 'text', required: true },
    { path: 'sub_url', label: 'field.sub_url', hint: 'field.sub_urlHint', kind: 'text' },
    { path: 'username', label: 'field.username', kind: 'text' },
    { path: 'password', label: 'field.password', kind: 'secret' },
    { path: 'outlets', label: 'field.outlets', kind: 'things', of: 'outlets' },
    { path: 'record', label: 'field.record', hint: 'field.recordHint', kind: 'select', choices: ['continuous', 'event'], words: 'option.record', empty: 'option.record.off' },
    { path: 'record_days', label: 'field.record_days', hint: 'field.record_daysHint', kind: 'number', more: true },
    id,
    { path: 'transport', label: 'field.transport', hint: 'field.transportHint', kind: 'select', choices: ['tcp', 'udp'], empty: 'option.usual', more: true },
    { path: 'fingerprint', label: 'field.fingerprint', hint: 'field.fingerprintHint', kind: 'text', more: true },
    { path: 'pull', label: 'field.pull', hint: 'field.pullHint', kind: 'select', choices: ['always', 'demand'], empty: 'option.usual', more: true },
    { path: 'still_url', label: 'field.still_url', hint: 'field.still_urlHint', kind: 'text', more: true },
    { path: 'onvif', label: 'field.onvif', hint: 'field.onvifHint', kind: 'text', more: true },
    { path: 'replay_url', label: 'field.replay_url', hint: 'field.replay_urlHint', kind: 'text', more: true },
    { path: 'replay_zone', label: 'field.replay_zone', hint: 'field.replay_zoneHint', kind: 'text', more: true },
    { path: 'alerts', label: 'field.alerts', hint: 'field.alertsHint', kind: 'marks', more: true },
  ],
  limits: [
    { path: '~applies', label: 'field.appliesTo', kind: 'select', choices: ['onePoint', 'manyPoints'], required: true, aside: true },
    { path: 'point', label: 'field.point', kind: 'thing', of: 'points', required: true, when: one },
    { path: 'outlet_kind', label: 'field.outlet_kind', kind: 'select', choices: outletKinds, required: true, when: many },
    { path: 'factor', label: 'field.factor', hint: 'field.factorHint', kind: 'text', required: true, when: many, suggest: factors },
    { path: 'level', label: 'field.level', kind: 'select', choices: ['HH', 'H', 'upper', 'lower', 'L', 'LL'], words: 'option.level', required: true },
    { path: 'value', label: 'field.value', kind: 'number', required: true },
    { path: 'unit', label: 'field.unit', kind: 'text' },
    { path: 'deadband', label: 'field.deadband', hint: 'field.deadbandHint', kind: 'number' },
    { path: 'standard', label: 'field.standard', kind: 'text' },
    { path: 'clause', label: 'field.clause', kind: 'text' },
    id,
    { path: 'on_delay', label: 'field.on_delay', hint: 'field.delayHint', kind: 'text', more: true },
    { path: 'off_delay', label: 'field.off_delay', hint: 'field.delayHint', kind: 'text', more: true },
    { path: 'valid_from', label: 'field.valid_from', kind: 'time', more: true },
    { path: 'valid_to', label: 'field.valid_to', kind: 'time', more: true },
    { path: 'exclude_marks', label: 'field.exclude_marks', hint: 'field.exclude_marksHint', kind: 'marks', more: true },
    { path: 'reg_item', label: 'field.reg_item', kind: 'text', more: true },
  ],
}
