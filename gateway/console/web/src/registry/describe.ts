import { figure, unitText } from '../format'
import { word } from '../i18n'
import { type Kind, outletOf, type Things, type useRegistry } from '../stores/registry'

type Registry = ReturnType<typeof useRegistry>

const pointName = (r: Registry, id: string) => `${r.nameOf('outlets', outletOf(id))} · ${r.nameOf('points', id)}`

const describers: { [K in Kind]: (x: Things[K], r: Registry) => { title: string; more: string } } = {
  entities: (x) => ({ title: x.name, more: x.uscc }),
  sites: (x) => ({ title: x.name, more: [word('option', x.kind), x.address].filter(Boolean).join(' · ') }),
  outlets: (x, r) => ({ title: x.name, more: `${r.nameOf('sites', x.site)} · ${word('option', x.kind)}` }),
  points: (x, r) => ({ title: pointName(r, x.id), more: [x.factor, unitText(x.unit)].filter(Boolean).join(' · ') }),
  devices: (x, r) => ({ title: x.name, more: `${r.nameOf('sites', x.site)} · ${x.endpoint || word('option', x.driver)}` }),
  bindings: (x, r) => ({ title: pointName(r, x.point), more: `← ${r.nameOf('devices', x.device)}${address(x)}` }),
  cameras: (x, r) => ({ title: x.name, more: `${r.nameOf('sites', x.site)} · ${x.url}` }),
  limits: (x, r) => ({
    title: x.point ? pointName(r, x.point) : `${word('option', x.outlet_kind)} · ${x.factor}`,
    more: [`${word('level', x.level)} ${figure(x.value)} ${unitText(x.unit)}`, x.standard].filter(Boolean).join(' · '),
  }),
}

function address(b: Things['bindings']): string {
  if (b.register) return ` · ${word('option', b.register.table)} ${b.register.address} ${b.register.type}`
  if (b.factor) return ` · ${b.factor.code} ${word('data', b.factor.kind ?? 'realtime')}`
  const topic = [b.topic?.topic, b.topic?.path].filter(Boolean).join(' # ')
  return topic && ` · ${topic}`
}

/** A thing in a list: what people call it, and what tells it from others. */
export function describe<K extends Kind>(kind: K, thing: Things[K], registry: Registry): { title: string; more: string } {
  return describers[kind](thing, registry)
}
