import { call, type Schemas } from '../api/client'
import { suggestId } from '../registry/draft'
import type { Lists } from '../stores/registry'

type Binding = Schemas['Binding']

/** One binding on its way from the old device to the new one. */
export interface Move {
  old: Binding
  ended: boolean
  done: boolean
}

/** The bindings of a device that hold now or later, each to be moved. */
export function movesOf(device: string, bindings: Binding[], now: number): Move[] {
  return bindings.filter((b) => b.device === device && (!b.to || Date.parse(b.to) > now)).map((old) => ({ old, ended: false, done: false }))
}

/** The binding that goes on where old ends: the same point and address in another device. */
export function successor(old: Binding, device: string, at: string, id: string): Record<string, unknown> {
  const { point, register, topic, factor, scale, offset } = old
  return JSON.parse(JSON.stringify({ id, point, device, from: at, register, topic, factor, scale, offset })) as Record<string, unknown>
}

/**
 * move ends every old binding and begins its successor at the same instant, so
 * that the history of each point goes on. What a lost connection leaves undone
 * is still marked so: calling again goes on where it stopped.
 */
export async function move(moves: Move[], device: string, lists: Lists, nowIso: () => string): Promise<void> {
  const taken = new Set<string>()
  for (const m of moves) {
    if (m.done) continue
    if (!m.ended) {
      m.old = await call<Binding>('PUT', '/bindings/' + m.old.id, { ...m.old, to: nowIso() })
      m.ended = true
    }
    const id = suggestId('bindings', { point: m.old.point }, lists, taken)
    taken.add(id)
    await call('POST', '/bindings', successor(m.old, device, m.old.to!, id))
    m.done = true
  }
}
