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
    former.clear()
  }

  const byId = computed(() => {
    const maps = {} as Record<Kind, Map<string, Things[Kind]>>
    for (const k of kinds) maps[k] = new Map((lists[k] as Things[Kind][]).map((x) => [x.id, x]))
    return maps
  })

  function find<K extends Kind>(kind: K, id: string): Things[K] | undefined {
    return byId.value[kind].get(id) as Things[K] | undefined
  }

  /** The name of a thing, also of a retired one that was recalled; its id where there is none. */
  function nameOf(kind: Kind, id: string): string {
    const thing = byId.value[kind].get(id) ?? former.get(kind + '/' + id)
    return thing && 'name' in thing ? thing.name : id
  }

  const former = reactive(new Map<string, Things[Kind]>())

  /** Reads what is retired, for whoever looks at what happened then. Without an answer ids stand for names. */
  async function recall(kind: Kind, id: string | undefined): Promise<void> {
    if (!id || find(kind, id) || former.has(kind + '/' + id)) return
    const q = new URLSearchParams({ retired: 'true', after: id.slice(0, -1), max: '1000' })
    const page = await call<{ items: Things[Kind][] }>('GET', `/${kind}?${q}`).catch(() => undefined)
    for (const thing of page?.items ?? []) former.set(kind + '/' + thing.id, thing)
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

  return { lists, problem, ready, load, clear, find, nameOf, recall, bindingOf, limitsOf }
})
