import { expect, test } from 'vitest'
import { readLabel } from './label'

const cases = [
  { name: 'a label', text: 'https://192.168.1.10:8443/#/devices/tank-plc-1', want: { device: 'tank-plc-1', base: 'https://192.168.1.10:8443' } },
  { name: 'an id that was typed', text: ' tank-plc-1 ', want: { device: 'tank-plc-1', base: '' } },
  { name: 'another page', text: 'https://192.168.1.10:8443/#/people', want: undefined },
  { name: 'a code of somebody else', text: 'https://example.com/p/123', want: undefined },
  { name: 'a script', text: 'javascript:alert(1)', want: undefined },
  { name: 'a path that goes on', text: 'https://a/#/devices/x/../../people', want: undefined },
]
test.each(cases)('$name', ({ text, want }) => expect(readLabel(text)).toEqual(want))
