import type { Schemas } from '../api/client'
import { said, word } from '../i18n'
import { outletOf } from '../stores/registry'
import { suggestId } from './draft'
import type { Draft } from './fields'
import { newOutlet } from './instruments'

export type Source = Schemas['Source']
type Offer = Schemas['SourceOffer']

/** Where to look. */
export const wheres = ['mqtt', 'broker', 'hj212', 'modbus', 'onvif'] as const
export type Where = (typeof wheres)[number]

/** A value that was ticked, as it will be registered. */
export interface Pick {
  key: string
  name: string
  factor: string
  unit: string
  digits: number
  /** Where it stands: in a message, or in the packets of a data logger. */
  topic?: Schemas['Topic']
  place?: Schemas['FactorPlace']
  value?: number
  /** Registered device that published it, on the gateway's own broker. */
  device?: string
  status?: Schemas['StatusTopic']
  /** Name under which its device has announced itself. */
  announced?: string
}

/** Tells two offers apart. */
export const keyOf = ({ device = '' }: Source, { topic: t, place: p }: Offer) =>
  (p ? [device, p.code, p.kind, p.field] : [device, t?.topic, t?.format ?? '', t?.each ?? '', t?.path ?? '']).join('\u0000')

/** The last words of a path, for people: "AM2301.Temperature" is Temperature. */
const lastWord = (name: string) => name.split(/[.:/]/).filter(Boolean).pop() ?? name

/** What people call an offer: of a data logger the factor, with the statistic where it is no real-time value. */
export function offerName(o: Offer): string {
  if (!o.place) return o.name
  const { kind = 'realtime', field = 'Rtd' } = o.place
  const statistic = kind === 'realtime' && field === 'Rtd' ? [] : [word('data', kind).toLowerCase(), word('data.field', field)]
  return [o.zh && o.en ? said({ zh: o.zh, en: o.en }) : o.place.code, ...statistic].join(' ')
}

const nameOf = (s: Source, o: Offer) => (s.kind === 'home_assistant' ? o.name : o.place ? offerName(o) : lastWord(o.topic?.path ? o.name : s.name))

export const pickOf = (s: Source, o: Offer): Pick => ({
  key: keyOf(s, o), name: nameOf(s, o),
  factor: o.factor, unit: o.unit, digits: o.digits, topic: o.topic, place: o.place, value: o.value, device: s.device, status: s.status, announced: s.kind === 'home_assistant' ? s.name : undefined,
})

export const draftOfDiscovery = (): Draft => ({
  where: '', address: '', framing: 'modbus', tls: '', username: '', password: '', filter: '', first: '1', last: '32', timeout: '500ms', table: 'holding', register: '0', baud: '9600', parity: 'none',
  device: '', name: '', outlet: '', outletName: '', outletKind: 'other', site: '', picked: '[]', '~request': '',
})

/** An address as it was typed, with the scheme that was chosen. */
export function endpointOf(where: Where, d: Draft): string {
  const address = String(d.address).trim()
  if (!address || address.includes('://')) return address
  if (where === 'mqtt') return (d.tls ? 'mqtts://' : 'mqtt://') + address
  return (address.startsWith('/') && d.framing === 'modbus' ? 'modbus+rtu' : String(d.framing)) + '://' + address
}

/** The device that is listened to or looked for units behind, as the API wants it. */
export function deviceOf(where: Where, d: Draft, site: string): Record<string, unknown> {
  if (where === 'broker' || where === 'hj212') return { driver: where }
  const endpoint = endpointOf(where, d)
  if (where === 'modbus') {
    const serial = endpoint.includes(':///') ? { serial: { baud: Number(d.baud), parity: d.parity } } : {}
    return { driver: 'modbus', site, endpoint, timeout: d.timeout, modbus: { unit: 1, ...serial } }
  }
  const device: Record<string, unknown> = { driver: 'mqtt', site, endpoint }
  for (const name of ['username', 'password'] as const) if (d[name]) device[name] = d[name]
  return device
}

/**
 * The devices that the ticked values make. Where several have announced
 * themselves each is one of its own, and the rest is one together; else all are one.
 */
export function newDevices(d: Draft, picked: Pick[]): { name: string; picks: Pick[] }[] {
  const free = picked.filter((p) => !p.device)
  const announced = [...new Set(free.flatMap((p) => p.announced ?? []))]
  const given = String(d.name).trim()
  if (announced.length < 2) return free.length ? [{ name: given, picks: free }] : []
  const list = announced.map((name) => ({ name, picks: free.filter((p) => p.announced === name) }))
  const rest = free.filter((p) => !p.announced)
  return rest.length ? [...list, { name: given, picks: rest }] : list
}

/** What to send to register what was ticked. The ids are chosen here, so that what was sent and not answered is found again. */
export function adoptOf(d: Draft, picked: Pick[], lists: Parameters<typeof suggestId>[2], refused: ReadonlySet<string>): Schemas['AdoptRequest'] {
  const request: Schemas['AdoptRequest'] = { points: [] }
  const owners = new Map<Pick, string>()
  let { outlet, site } = { outlet: String(d.outlet), site: String(d.site) }
  if (outlet === newOutlet) {
    outlet = suggestId('outlets', { name: d.outletName! }, lists, refused)
    request.new_outlet = { id: outlet, site, name: String(d.outletName).trim(), kind: String(d.outletKind) }
  } else {
    request.outlet = outlet
    site = lists.outlets.find((o) => o.id === outlet)?.site ?? site
  }
  const taken = new Set(refused)
  for (const { name, picks } of d.device ? [] : newDevices(d, picked)) {
    const [first] = picks
    const status = first?.status && picks.every((p) => JSON.stringify(p.status) === JSON.stringify(first.status)) ? { mqtt: { status: first.status } } : {}
    const id = suggestId('devices', { name }, lists, taken)
    taken.add(id)
    request.devices = [...(request.devices ?? []), { ...deviceOf('mqtt', d, site), ...status, id, name }]
    for (const p of picks) owners.set(p, id)
  }
  for (const p of picked) {
    const id = suggestId('points', { '~outlet': outlet, name: p.name, factor: p.factor }, lists, taken)
    taken.add(id)
    const { name, factor, unit, digits, topic, place } = p
    const device = p.device || String(d.device) || owners.get(p)
    request.points.push({ id, name, factor, unit, digits, ...(place ? { place } : { topic }), ...(device ? { device } : {}) })
  }
  return request
}

/** The whole ids of the points of a request. */
export const pointsOf = (r: Schemas['AdoptRequest']) => r.points.map((p) => `${r.outlet || String(r.new_outlet?.id)}.${p.id}`)

/** The outlets by site, for a choice. */
export function outletsBySite(outlets: Schemas['Outlet'][], nameOf: (site: string) => string): { name: string; items: Schemas['Outlet'][] }[] {
  const groups = new Map<string, Schemas['Outlet'][]>()
  for (const o of outlets) groups.set(o.site, [...(groups.get(o.site) ?? []), o])
  return [...groups].map(([site, items]) => ({ name: nameOf(site), items }))
}

/** The outlet where most points of a device stand, "" for none. */
export function usualOutlet(points: string[]): string {
  const counts = new Map<string, number>()
  for (const p of points) counts.set(outletOf(p), (counts.get(outletOf(p)) ?? 0) + 1)
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0] ?? ''
}
