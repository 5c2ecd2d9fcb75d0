import type { Schemas } from '../api/client'
import { outletOf } from '../stores/registry'

type Binding = Schemas['Binding']
type Letter = Pick<Schemas['DeadLetter'], 'device' | 'topic' | 'problem'>

/** The topic, or filter, that a binding listens to; as Binding.fullTopic in the gateway. */
export function topicOf(b: Pick<Binding, 'device' | 'point' | 'topic'>): string {
  const t = b.topic
  if (t?.topic) return t.topic.replaceAll('{device}', t.instance || b.device)
  if (t?.path || t?.each) return 'offsite/' + b.device
  return `offsite/${b.device}/${b.point.slice(outletOf(b.point).length + 1)}`
}

/** Whether an MQTT filter takes in a topic. */
export function takesIn(filter: string, topic: string): boolean {
  const levels = filter.split('/')
  const parts = topic.split('/')
  for (let i = 0; i < levels.length; i++) {
    if (levels[i] === '#') return true
    if (i >= parts.length || (levels[i] !== '+' && levels[i] !== parts[i])) return false
  }
  return levels.length === parts.length
}

/** The bindings that the reason of a letter may be about: those of its topic, and of them those whose path it names. */
export function menders<B extends Pick<Binding, 'device' | 'point' | 'topic'>>(letter: Letter, bindings: B[]): B[] {
  const own = bindings.filter((b) => b.device === letter.device)
  const heard = own.filter((b) => takesIn(topicOf(b), letter.topic))
  const said = [letter.problem.field ?? '', letter.problem.en].join(' ')
  const named = heard.filter((b) => [b.topic?.path, b.topic?.each, b.topic?.time_path].some((p) => p && said.includes(p)))
  return named.length ? named : heard
}

/** A payload in base64 as lines of sixteen bytes in hexadecimal. */
export function hexOf(base64: string): string {
  const bytes = Array.from(atob(base64), (c) => c.charCodeAt(0).toString(16).padStart(2, '0'))
  const lines: string[] = []
  for (let i = 0; i < bytes.length; i += 16) lines.push(bytes.slice(i, i + 16).join(' '))
  return lines.join('\n')
}
