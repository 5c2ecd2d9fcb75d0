import { call, type Schemas } from '../api/client'
import { createOnce, unanswered } from '../api/once'
import { suggestId } from '../registry/draft'
import type { Lists } from '../stores/registry'

type Binding = Schemas['Binding']

/** One binding on its way from the old device to the new one. */
export interface Move {
  old: Binding
  ended: boolean
  done: boolean
  /** The id of the binding that goes on, from when it is first sent. */
  next?: string
  /** What was sent last was not answered. */
  unsure?: boolean
}

/** The bindings of a device that hold now or later, each to be moved. */
export function movesOf(device: string, bindings: Binding[], now: number): Move[] {
  return bindings.filter((b) => b.device === device && (!b.to || Date.parse(b.to) > now)).map((old) => ({ old, ended: false, done: false }))
}

/** The binding that goes on where old ends: the same in another device. */
export function successor(old: Binding, device: string, at: string, id: string): Record<string, unknown> {
  const { to: _to, version: _version, created_at: _created, updated_at: _updated, retired_at: _retired, ...same } = old
  return { ...same, id, device, from: at }
}

/**
 * move ends every old binding and begins its successor at the same instant, so
 * that the history of each point goes on. What a lost connection leaves undone
 * is still marked so: calling again goes on where it stopped, and looks first
 * at what was not answered. told is called before each step is sent.
 */
export async function move(moves: Move[], device: string, lists: Lists, nowIso: () => string, told: () => void = () => {}): Promise<void> {
  const taken = new Set<string>(moves.flatMap((m) => m.next ?? []))
  for (const m of moves) {
    if (m.done) continue
    if (!m.ended) {
      await surely(m, told, (again) => end(m, nowIso(), again))
      m.ended = true
    }
    m.next ??= suggestId('bindings', { point: m.old.point }, lists, taken)
    taken.add(m.next)
    await surely(m, told, (again) => createOnce('/bindings', successor(m.old, device, m.old.to!, m.next!), again))
    m.done = true
    told()
  }
}

// Runs one step, which is told whether its last try was not answered, and remembers whether this one was.
async function surely(m: Move, told: () => void, step: (again: boolean) => Promise<unknown>): Promise<void> {
  const again = !!m.unsure
  m.unsure = true
  told()
  try {
    await step(again)
    m.unsure = false
  } catch (e) {
    m.unsure = unanswered(e)
    throw e
  }
}

async function end(m: Move, to: string, again: boolean): Promise<void> {
  if (again) {
    const stands = await call<Binding>('GET', '/bindings/' + m.old.id)
    m.old = stands
    if (stands.to && Date.parse(stands.to) <= Date.parse(to)) return
  }
  m.old = await call<Binding>('PUT', '/bindings/' + m.old.id, { ...m.old, to })
}
