import type { Schemas } from '../api/client'

export type Wall = Schemas['Wall']
export type Layout = Schemas['WallLayout']

/** A layout as a grid whose first picture may be large; the others fill the free cells row by row. */
export interface Shape {
  places: number
  side: number // columns, and rows
  large: number // columns and rows of the first picture
}

export const layouts: Record<Layout, Shape> = {
  '1': { places: 1, side: 1, large: 1 },
  '4': { places: 4, side: 2, large: 1 },
  '9': { places: 9, side: 3, large: 1 },
  '16': { places: 16, side: 4, large: 1 },
  '1+5': { places: 6, side: 3, large: 2 },
  '1+7': { places: 8, side: 4, large: 3 },
}

const mostPages = 16

/** The wall of who has made none: every camera, in the smallest layout that holds them, the rest on further pages. */
export function wallOfAll(cameras: string[], name: string): Wall {
  const layout = (['1', '4', '9', '16'] as const).find((l) => layouts[l].places >= cameras.length) ?? '16'
  const places = layouts[layout].places
  const pages = []
  for (let i = 0; i < Math.max(1, cameras.length) && pages.length < mostPages; i += places) pages.push({ cameras: cameras.slice(i, i + places) })
  return { name, layout, pages }
}

/** The cameras of a page, one for each place of the layout; empty text is an empty place. */
export function placesOf(wall: Wall, page: number): string[] {
  const cameras = wall.pages[page]?.cameras ?? []
  return Array.from({ length: layouts[wall.layout].places }, (_, i) => cameras[i] ?? '')
}

/** Every camera of the wall once, in the order of its pages: the list that a phone shows. */
export const camerasOf = (wall: Wall): string[] => [...new Set(wall.pages.flatMap((p) => p.cameras))].filter((c) => c !== '')

/** alarmsFirst puts those cameras of the wall that are in alarm before the page's others, also those of other pages. */
export function alarmsFirst(wall: Wall, page: number, alarmed: Set<string>): string[] {
  const places = placesOf(wall, page)
  const front = camerasOf(wall).filter((c) => alarmed.has(c))
  if (!front.length) return places
  return [...front, ...places.filter((c) => !front.includes(c))].slice(0, places.length)
}

/** put gives the page's places with camera in one of them; where it stood on this page already, the two change places. */
export function put(places: string[], place: number, camera: string): string[] {
  const from = camera ? places.indexOf(camera) : -1
  return places.map((c, i) => (i === place ? camera : i === from ? places[place]! : c))
}

/** The cell of the grid at which each place begins, and how many it takes each way. */
function cells({ places, side, large }: Shape): { x: number; y: number; size: number }[] {
  const list = [{ x: 0, y: 0, size: large }]
  for (let cell = 0; list.length < places; cell++) {
    const [x, y] = [cell % side, Math.floor(cell / side)]
    if (x >= large || y >= large) list.push({ x, y, size: 1 })
  }
  return list
}

const steps: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }
export const isArrow = (key: string): boolean => key in steps

/** The place that an arrow key leads to: the nearest beyond the edge on that side; the same where there is none. */
export function neighbour(layout: Layout, place: number, key: string): number {
  const list = cells(layouts[layout])
  const here = list[place]
  const step = steps[key]
  if (!here || !step) return place
  const [dx, dy] = step
  const middle = (c: { x: number; y: number; size: number }) => [c.x + c.size / 2, c.y + c.size / 2] as const
  const [hx, hy] = middle(here)
  const far = list.map((c, i) => {
    const [x, y] = middle(c)
    const [ahead, aside] = dx ? [(x - hx) * dx, Math.abs(y - hy)] : [(y - hy) * dy, Math.abs(x - hx)]
    const beyond = ahead >= (here.size + c.size) / 2
    return { i, distance: beyond ? ahead + 2 * aside : Infinity }
  })
  const nearest = far.reduce((a, b) => (b.distance < a.distance ? b : a))
  return nearest.distance === Infinity ? place : nearest.i
}

/** What has been typed of a place's number, and when. */
export interface Typed {
  number: number
  at: number // ms
}

const together = 900 // ms within which two digits make one number

/** typed takes a digit in: after a 1, a second digit soon makes 10 to 16; a 0 alone is the tenth. */
export function typed(before: Typed | undefined, digit: number, at: number, places: number): Typed {
  const joined = (before?.number ?? 0) * 10 + digit
  if (before && at - before.at < together && joined >= 10 && joined <= places) return { number: joined, at }
  return { number: digit === 0 ? 10 : digit, at }
}
