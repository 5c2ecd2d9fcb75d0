import type { Schemas } from '../api/client'
import type { Draft } from './fields'

export type Template = Schemas['Template']
/** What the list tells of a template. */
export type Summary = Schemas['TemplateList']['items'][number]
export type Parameter = Schemas['TemplateParameter']
type Words = Schemas['Words']

/** What a search leaves: words in either language, and one brand or kind alone. */
export interface Wanted {
  words: string
  brand: string
  kind: string
}

/** Chosen as an outlet, it asks for one to be made. */
export const newOutlet = '+'

/** The sentence of words that a template gives, for said. */
export const both = (w: Words | undefined) => ({ zh: w?.zh ?? w?.en ?? '', en: w?.en ?? w?.zh ?? '' })

const everyWord = (w: Words | undefined) => `${w?.zh ?? ''} ${w?.en ?? ''}`

/**
 * found gives the templates that hold every word, those first that have them in
 * their names. kindWords gives the words of a kind of instrument.
 */
export function found(templates: Summary[], wanted: Wanted, kindWords: (kind: string) => string): Summary[] {
  const words = wanted.words.trim().toLowerCase().split(/\s+/).filter(Boolean)
  const ranked: { template: Summary; rank: number }[] = []
  for (const template of templates) {
    if ((wanted.brand && template.brand !== wanted.brand) || (wanted.kind && template.kind !== wanted.kind)) continue
    const title = [template.brand, template.model ?? '', everyWord(template.name), template.id].join(' ').toLowerCase()
    const rest = [template.kind, kindWords(template.kind), template.driver].join(' ').toLowerCase()
    if (!words.every((w) => title.includes(w) || rest.includes(w))) continue
    ranked.push({ template, rank: words.filter((w) => !title.includes(w)).length })
  }
  // A stable sort: equals stay as the gateway lists them, but what anybody may have comes after what is named.
  const named = (t: Summary) => (t.brand === 'generic' ? (t.kind === 'generic' ? 2 : 1) : 0)
  return ranked.sort((a, b) => a.rank - b.rank || named(a.template) - named(b.template)).map((r) => r.template)
}

const key = (p: Parameter) => 'parameters.' + p.name

/** The draft of a template's form, its defaults filled in. */
export function draftOfTemplate(template: Template): Draft {
  const d: Draft = { site: '', outlet: '', outletName: '', name: '', device: '', limits: [], without: [] }
  for (const p of template.parameters) d[key(p)] = p.default === undefined || p.default === null ? '' : String(p.default)
  return d
}

/** Parameters that must be looked at come first; the others have defaults that usually fit. */
export const asked = (p: Parameter) => (p.default === undefined && !p.optional) || p.name === 'unit' || p.name === 'base' || p.name === 'address'

function value(p: Parameter, text: string): unknown {
  const s = p.type === 'secret' ? text : text.trim()
  if (s === '') return undefined
  if (p.type === 'boolean') return s === 'true'
  if (p.type === 'integer' || p.type === 'number') {
    const n = Number(s.replace('，', '.').replace(',', '.'))
    return Number.isNaN(n) ? s : n // the gateway says what is wrong with it
  }
  return s
}

/** The points that the template offers with what is filled in, each as often as it stands there. */
export function offeredPoints(template: Template, d: Draft): { id: string; name: { zh: string; en: string } }[] {
  const filled = (s: string, n: number) => s.replace(/\$\{(\w+)\}/g, (_, name: string) => (name === 'n' ? String(n) : String(d['parameters.' + name] ?? '')))
  return template.points.flatMap((p) => {
    const times = p.repeat === undefined || p.repeat === null ? 1 : Number(filled(String(p.repeat), 0))
    const name = both(p.name)
    return Array.from({ length: times > 0 ? Math.min(times, 256) : 0 }, (_, i) => ({ id: filled(p.id, i + 1), name: { zh: filled(name.zh, i + 1), en: filled(name.en, i + 1) } }))
  })
}

/** What to send to render or register; the ids of what is yet to be made are given. */
export function requestOf(template: Template, d: Draft, outlet: string, language: 'zh' | 'en', takeOver: boolean): Schemas['TemplateRequest'] {
  const parameters: Record<string, unknown> = {}
  for (const p of template.parameters) {
    const v = value(p, String(d[key(p)] ?? ''))
    if (v !== undefined) parameters[p.name] = v
  }
  const r: Schemas['TemplateRequest'] = { outlet, language, parameters }
  if (d.site) r.site = String(d.site)
  for (const name of ['name', 'device'] as const) if (String(d[name]).trim()) r[name] = String(d[name]).trim()
  if ((d.limits as string[]).length) r.limits = d.limits as string[]
  const without = (d.without ?? []) as string[]
  if (without.length) r.points = offeredPoints(template, d).filter((p) => !without.includes(p.id)).map((p) => ({ point: p.id }))
  if (takeOver) r.take_over = true
  return r
}

/**
 * What to send to try it. The gateway tells no secret back, so that the one that
 * was typed goes in again.
 */
export function probeOf(template: Template, d: Draft, drawn: Schemas['TemplateResult']): { device: unknown; points: unknown[]; bindings: unknown[] } {
  const device: Record<string, unknown> = { ...drawn.device }
  const secret = template.parameters.find((p) => p.type === 'secret' && d[key(p)])
  if (device.password && secret) device.password = d[key(secret)]
  return { device, points: drawn.points, bindings: drawn.bindings }
}

/** The parameter that says in which order words come, if the template has one with these choices. */
export const orderParameter = (template: Template) => template.parameters.find((p) => p.type === 'choice' && p.choices?.some((c) => c.value === 'CDAB'))
