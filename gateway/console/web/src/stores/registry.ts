import { defineStore } from 'pinia'
import { computed, reactive, ref } from 'vue'
import { call, Problem, type Schemas } from '../api/client'

/** The kinds of registered things, as the API's paths name them. */
export interface Things {
  entities: Schemas['Entity']
  sites: Schemas['Site']
  outlets: Schemas['Outlet']
  points: Schemas['Point']
  devices: Schemas['Device']
  bindings: Schemas['Binding']
  cameras: Schemas['Camera']
  limits: Schemas['Limit']
}
export type Kind = keyof Things
export const kinds: Kind[] = ['entities', 'sites', 'outlets', 'points', 'devices', 'bindings', 'cameras', 'limits']

export type Lists = { [K in Kind]: Things[K][] }

export const outletOf = (point: string) => point.slice(0, point.indexOf('.'))

/** All live things that the reader may see; read again whenever the gateway says that some changed. */
export const useRegistry = defineStore('registry', () => {
  const lists = reactive<Lists>({ entities: [], sites: [], outlets: [], points: [], devices: [], bindings: [], cameras: [], limits: [] })
  const problem = ref<Problem>()
  const ready = ref(false)
  let reading: Promise<void> | undefined
  let again = false

  /** Reads every list; calls that come meanwhile share one further reading. */
  function load(): Promise<void> {
    if (reading) {
      again = true
      return reading
    }
    reading = (async () => {
      do {
        again = false
        try {
          await Promise.all(kinds.map(read))
          ready.value = true
          problem.value = undefined
        } catch (e) {
          if (!(e instanceof Problem)) throw e
          problem.value = e
        }
      } while (again)
    })().finally(() => (reading = undefined))
    return reading
  }

  async function read<K extends Kind>(kind: K): Promise<void> {
    const items: Things[K][] = []
    for (let after = ''; ; ) {
      const page = await call<{ items: Things[K][]; next?: string }>('GET', `/${kind}?max=5000${after}`)
      items.push(...page.items)
      if (!page.next) break
      after = '&after=' + encodeURIComponent(page.next)
    }
    ;(lists as Record<Kind, unknown[]>)[kind] = items
  }

  function clear(): void {
    for (const k of kinds) lists[k] = []
    ready.value = false
  }

  const byId = computed(() => {
    const maps = {} as Record<Kind, Map<string, Things[Kind]>>
    for (const k of kinds) maps[k] = new Map((lists[k] as Things[Kind][]).map((x) => [x.id, x]))
    return maps
  })

  function find<K extends Kind>(kind: K, id: string): Things[K] | undefined {
    return byId.value[kind].get(id) as Things[K] | undefined
  }

  /** The name of a thing; its id when it is retired or has none. */
  function nameOf(kind: Kind, id: string): string {
    const thing = byId.value[kind].get(id)
    return thing && 'name' in thing ? thing.name : id
  }

  const bindingOf = computed(() => {
    const now = Date.now()
    const held = lists.bindings.filter((b) => (!b.from || Date.parse(b.from) <= now + 60_000) && (!b.to || Date.parse(b.to) > now))
    return new Map(held.map((b) => [b.point, b]))
  })

  /** Limits that apply to a point, its own and those of its kind. */
  function limitsOf(point: string): Schemas['Limit'][] {
    const p = find('points', point)
    const kind = find('outlets', outletOf(point))?.kind
    return lists.limits.filter((l) => l.point === point || (!l.point && l.outlet_kind === kind && l.factor === p?.factor))
  }

  return { lists, problem, ready, load, clear, find, nameOf, bindingOf, limitsOf }
})
