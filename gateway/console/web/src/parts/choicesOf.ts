import { aside } from '../i18n'
import type { Draft, Field } from '../registry/fields'
import { outletOf, type useRegistry } from '../stores/registry'

export interface Group {
  name: string
  items: { id: string; text: string }[]
}

/** choicesOf lists the things that a field may name, by name, grouped by where they belong. */
export function choicesOf(field: Field, draft: Draft, registry: ReturnType<typeof useRegistry>): Group[] {
  const lists = registry.lists
  const groups = new Map<string, Group>()
  const add = (group: string, id: string, text: string) => {
    const g = groups.get(group) ?? { name: group, items: [] }
    g.items.push({ id, text })
    groups.set(group, g)
  }
  const site = (id: string | undefined) => (id ? registry.nameOf('sites', id) : '')
  const siteOfPoint = (point: string) => registry.find('outlets', outletOf(point))?.site
  switch (field.of) {
    case 'outlets':
      for (const o of lists.outlets) if (field.kind === 'thing' || o.site === draft.site) add(site(o.site), o.id, o.name)
      break
    case 'points':
      for (const p of lists.points) add(site(siteOfPoint(p.id)), p.id, `${registry.nameOf('outlets', outletOf(p.id))} · ${p.name}`)
      break
    case 'devices': {
      // a point is measured by a device of its own site
      const of = draft.point ? siteOfPoint(String(draft.point)) : undefined
      for (const d of lists.devices) if (!of || d.site === of || d.id === draft.device) add(site(d.site), d.id, d.name + aside(d.id))
      break
    }
    default:
      for (const x of lists[field.of!]) add('', x.id, 'name' in x ? x.name : x.id)
  }
  return [...groups.values()]
}
