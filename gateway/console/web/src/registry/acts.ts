import { word } from '../i18n'

/** The things that acts of the audit trail are done to, for a choice. */
export const actedOn = [
  'session', 'person', 'token', 'entity', 'site', 'outlet', 'point', 'device', 'binding', 'camera', 'limit', 'table', 'event', 'evidence', 'still', 'live', 'stream', 'recording', 'reference', 'blob',
  'dead_letter', 'platform', 'command', 'audit',
] as const

/** An act such as "camera.create" in words: a thing, and what was done to it. */
export function actWords(act: string): string {
  const whole = word('act', act)
  if (whole !== act) return whole
  const cut = act.indexOf('.')
  if (cut < 0) return word('audit.thing', act)
  return `${word('audit.thing', act.slice(0, cut))} · ${word('audit.done', act.slice(cut + 1))}`
}
