import { expect, test } from 'vitest'
import { hexOf, menders, takesIn, topicOf } from './letters'

const binding = (point: string, topic?: Record<string, string>) => ({ id: point, device: 'pm-1', point, topic })

test('a binding without topic listens where the gateway says', () => {
  expect(topicOf(binding('gate.pm10'))).toBe('offsite/pm-1/pm10')
  expect(topicOf(binding('gate.pm10', { path: 'pm' }))).toBe('offsite/pm-1')
  expect(topicOf(binding('gate.pm10', { topic: 'plant/{device}/data' }))).toBe('plant/pm-1/data')
  expect(topicOf(binding('gate.pm10', { topic: 'plant/{device}/data', instance: '4C11' }))).toBe('plant/4C11/data')
})

test('wildcards take in what MQTT says', () => {
  expect(takesIn('plant/+/data', 'plant/7/data')).toBe(true)
  expect(takesIn('plant/#', 'plant')).toBe(true)
  expect(takesIn('plant/#', 'plant/7/data')).toBe(true)
  expect(takesIn('plant/+', 'plant/7/data')).toBe(false)
  expect(takesIn('plant/7', 'plant')).toBe(false)
})

test('a reason leads to the binding whose path it names, else to all of its topic', () => {
  const pm10 = binding('gate.pm10', { path: 'data.pm10', time_path: 'at' })
  const noise = binding('gate.noise', { path: 'data.noise' })
  const elsewhere = binding('gate.wind')
  const letter = (en: string) => ({ device: 'pm-1', topic: 'offsite/pm-1', problem: { field: 'data.pm10', code: 'x', zh: '', en } })
  expect(menders(letter('the JSON has no path data.pm10'), [pm10, noise, elsewhere])).toEqual([pm10])
  expect(menders({ ...letter('the message is not JSON'), problem: { field: '', code: 'x', zh: '', en: 'not JSON' } }, [pm10, noise, elsewhere])).toEqual([pm10, noise])
  expect(menders({ ...letter(''), device: 'other' }, [pm10])).toEqual([])
})

test('bytes are shown sixteen a line', () => {
  expect(hexOf(btoa('\x00\xff0123456789abcdef'))).toBe('00 ff 30 31 32 33 34 35 36 37 38 39 61 62 63 64\n65 66')
})
