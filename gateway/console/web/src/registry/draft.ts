import type { Schemas } from '../api/client'
import { fieldTime, instantOf } from '../format'
import { outletOf, type Kind, type Lists, type Things } from '../stores/registry'
import { type Draft, type Field, fields, type Role } from './fields'

type Label = Schemas['Label']
type FieldProblem = Schemas['FieldProblem']

/** The value at a path of a thing. */
export function at(thing: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((o, key) => (o as Record<string, unknown> | undefined)?.[key], thing)
}

function typed(f: Field, value: unknown): Draft[string] {
  if (f.kind === 'roles') return ((value as Role[] | undefined) ?? []).map((r) => ({ ...r }))
  if (f.kind === 'things') return [...((value as string[] | undefined) ?? [])]
  if (f.kind === 'secret' || value === undefined || value === null) return ''
  if (f.kind === 'marks') return (value as string[]).join(', ')
  if (f.kind === 'labels') return (value as Label[]).map((l) => `${l.value}=${l.text}`).join(', ')
  return f.kind === 'time' ? fieldTime(value as string) : String(value)
}

/** The draft that shows thing, or an empty one with what is usual. */
export function draftOf<K extends Kind>(kind: K, thing?: Things[K]): Draft {
  const d: Draft = {}
  for (const f of fields[kind]) d[f.path] = typed(f, at(thing, f.path))
  if (kind === 'points') {
    d['~outlet'] = thing ? outletOf(thing.id) : ''
    if (thing) d.id = thing.id.slice(thing.id.indexOf('.') + 1)
    else d.digits = '1'
  }
  if (kind === 'limits') {
    const limit = thing as Things['limits'] | undefined
    d['~applies'] = limit && !limit.point ? 'manyPoints' : 'onePoint'
    if (!limit) d.level = 'H'
  }
  if (kind === 'devices' && !thing) Object.assign(d, { driver: 'broker', 'modbus.unit': '1' })
  if (kind === 'bindings' && !thing) Object.assign(d, { 'register.table': 'holding', 'register.type': 'float32' })
  return d
}

/**
 * What of a draft may lie in the browser's storage: no secret field, and no
 * user and password in an address. missing names what has to be typed again.
 */
export function withoutSecrets(d: Draft, secrets: string[]): { draft: Draft; missing: string[] } {
  const draft: Draft = {}
  const missing: string[] = []
  for (const [path, v] of Object.entries(d)) {
    const bare = secrets.includes(path) ? '' : typeof v === 'string' ? v.replace(/:\/\/[^/?#]*@/, '://') : v
    if (bare !== v) missing.push(path)
    draft[path] = bare
  }
  return { draft, missing }
}

/** The fields that count for what is chosen so far. */
export const visible = (kind: Kind, d: Draft): Field[] => fields[kind].filter((f) => !f.when || f.when(d))

function value(f: Field, text: Draft[string]): unknown {
  if (f.kind === 'roles') return (text as Role[]).filter((r) => r.entity)
  if (f.kind === 'things') return text
  const s = String(text).trim()
  if (f.kind === 'marks') return s ? s.split(/[,，、\s]+/) : undefined
  if (s === '') return undefined
  if (f.kind === 'labels') return labels(s)
  if (f.kind === 'time') return instantOf(s)
  if (f.kind === 'number' || f.words === 'count') return Number(s.replace('，', '.').replace(',', '.'))
  if (f.words === 'tolerant') return s === 'true'
  return f.kind === 'secret' ? text : s
}

// "0=停, 1=运行" as the values and texts that it names; NaN where it cannot be read.
function labels(s: string): Label[] | number {
  const found = s.split(/[,，;；\n]+/).filter((p) => p.trim()).map((p) => /^\s*(-?[\d.]+)\s*[=＝:：]\s*(.+?)\s*$/.exec(p))
  return found.every((m) => m) ? found.map((m) => ({ value: Number(m![1]), text: m![2]! })) : NaN
}

/**
 * What to send, and which numbers are none. before is what is replaced; what no
 * field of the form shows stays as it is there.
 */
export function bodyOf<K extends Kind>(kind: K, d: Draft, before?: Things[K]): { body: Record<string, unknown>; notNumbers: string[] } {
  const body = before ? (JSON.parse(JSON.stringify(before)) as Record<string, unknown>) : {}
  for (const key of ['version', 'created_at', 'updated_at', 'retired_at']) delete body[key]
  for (const f of fields[kind]) if (!f.aside) remove(body, f.path)
  const notNumbers: string[] = []
  const shown = before && draftOf(kind, before)
  for (const f of visible(kind, d)) {
    if (f.aside) continue
    // What was not touched goes back as it came: a time has more digits than its field.
    const untouched = shown && f.kind !== 'secret' && JSON.stringify(shown[f.path]) === JSON.stringify(d[f.path])
    const v = untouched ? at(before, f.path) : value(f, d[f.path]!)
    if (v === undefined || v === null) continue
    if (typeof v === 'number' && Number.isNaN(v)) notNumbers.push(f.path)
    else put(body, f.path, v)
  }
  dropGroups(kind, d, body)
  if (kind === 'points') body.id = before?.id ?? `${String(d['~outlet'])}.${String(d.id).trim()}`
  else if (before) body.id = before.id
  if (kind === 'limits') body.averaging = 'instant'
  if (kind === 'bindings' && ['coil', 'discrete'].includes(String(d['register.table'])) && body.register) put(body, 'register.type', 'bit')
  if (before) body.version = before.version
  return { body, notNumbers }
}

function put(body: Record<string, unknown>, path: string, v: unknown): void {
  const keys = path.split('.')
  const last = keys.pop()!
  let o = body
  for (const key of keys) o = (o[key] ??= {}) as Record<string, unknown>
  o[last] = v
}

function remove(body: Record<string, unknown>, path: string): void {
  const [first, ...rest] = path.split('.')
  if (!rest.length) delete body[first!]
  else if (body[first!]) remove(body[first!] as Record<string, unknown>, rest.join('.'))
}

// A device that is no longer Modbus has no Modbus settings, those included that
// no field shows. An object of which nothing is left goes too.
function dropGroups(kind: Kind, d: Draft, body: Record<string, unknown>): void {
  const shown = visible(kind, d)
  for (const group of new Set(fields[kind].map((f) => f.path.split('.')[0]!))) {
    const of = (f: Field) => f.path.startsWith(group + '.')
    if (!fields[kind].some(of)) continue
    const o = body[group] as Record<string, unknown> | undefined
    for (const key of Object.keys(o ?? {})) if (isEmpty(o![key])) delete o![key]
    if (!shown.some(of) || isEmpty(o)) delete body[group]
  }
}

const isEmpty = (o: unknown) => typeof o === 'object' && o !== null && !Array.isArray(o) && Object.keys(o).length === 0

/** Sorts problems to the fields that they name; what names none of them stays above the form. */
export function place(shown: Field[], problems: FieldProblem[]): { beside: Map<string, FieldProblem>; above: FieldProblem[] } {
  const beside = new Map<string, FieldProblem>()
  const above: FieldProblem[] = []
  for (const p of problems) {
    const at = shown.find((f) => f.path === p.field) ?? shown.find((f) => p.field.startsWith(f.path + '[') || p.field.startsWith(f.path + '.'))
    const within = at ?? (p.field ? shown.find((f) => f.path.startsWith(p.field + '.')) : undefined)
    if (!within || beside.has(within.path)) above.push(p)
    else beside.set(within.path, p)
  }
  return { beside, above }
}

const stems: Record<Kind, string> = {
  entities: 'entity', sites: 'site', outlets: 'outlet', points: 'point', devices: 'device', bindings: 'binding', cameras: 'cam', limits: 'limit',
}

/** Eight characters that nobody else has chosen. */
export const random = () => Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => (b % 36).toString(36)).join('')

const slug = (s: string) => s.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-+|-+$/g, '').slice(0, 48)

/**
 * An id that is free and says something, so that nobody must think of one in the
 * field. refused are those that the gateway did not take: retired things keep theirs.
 */
export function suggestId(kind: Kind, d: Draft, lists: Lists, refused: ReadonlySet<string> = new Set()): string {
  const outlet = String(d['~outlet'] ?? '')
  const taken = new Set(lists[kind].filter((x) => kind !== 'points' || outletOf(x.id) === outlet).map((x) => (kind === 'points' ? x.id.slice(outlet.length + 1) : x.id)))
  const text = (path: string) => String(d[path] ?? '')
  let stem = slug(text('name'))
  if (kind === 'points' && !/[a-z]/.test(stem)) stem = slug(text('factor'))
  if (kind === 'bindings') stem = slug(text('point'))
  if (kind === 'limits') {
    const of = text('~applies') === 'manyPoints' ? text('outlet_kind') + '-' + text('factor') : text('point')
    stem = slug(of) && slug(of + '-' + text('level'))
  }
  if (!/[a-z]/.test(stem)) stem = stems[kind]
  const numbered = stem === stems[kind]
  for (let n = 1; ; n++) {
    const id = n === 1 && !numbered ? stem : `${stem}-${n}`
    if (!taken.has(id) && !refused.has(id)) return id
  }
}
