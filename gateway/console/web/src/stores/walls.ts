import { defineStore } from 'pinia'
import { ref } from 'vue'
import { call, Problem, type Schemas } from '../api/client'
import type { Wall } from '../wall/layout'

/** The signed-in person's walls of pictures, as the gateway keeps them for every desk. */
export const useWalls = defineStore('walls', () => {
  const list = ref<Wall[]>([])
  const ready = ref(false)
  let version = 0

  function take(all: Schemas['Walls']): void {
    list.value = all.walls
    version = all.version
    ready.value = true
  }

  const load = async () => take(await call<Schemas['Walls']>('GET', '/me/walls'))

  // What another desk did to other walls meanwhile stays: the change is made anew on what the gateway has now.
  async function change(edit: (walls: Wall[]) => Wall[]): Promise<void> {
    const put = async () => take(await call<Schemas['Walls']>('PUT', '/me/walls', { version, walls: edit(list.value) }))
    try {
      await put()
    } catch (e) {
      if (!(e instanceof Problem) || e.code !== 'version_changed') throw e
      await load()
      await put()
    }
  }

  /** Keeps a wall in place of the one of that name, or as a new one. */
  const keep = (wall: Wall, before?: string) => change((walls) => {
    const at = walls.findIndex((w) => w.name === (before ?? wall.name))
    return at < 0 ? [...walls, wall] : walls.map((w, i) => (i === at ? wall : w))
  })

  const remove = (name: string) => change((walls) => walls.filter((w) => w.name !== name))

  return { list, ready, load, keep, remove }
})
