import type { Schemas } from '../api/client'

type Loss = Schemas['Loss']

/** What has been read of the losses, newest end first; next is that of the page read last. */
export interface Losses {
  items: Loss[]
  next?: string
}

/** Those of some rows that are not among others; a row that goes on has moved up. */
const without = (rows: Loss[], others: Loss[]) => {
  const known = new Set(others.map((l) => l.id))
  return rows.filter((l) => !known.has(l.id))
}
const below = (a: Loss, b: Loss) => (Date.parse(a.to) - Date.parse(b.to) || a.id - b.id) < 0

/** The newest page over what was read before. Where others may lie between the two, reading begins anew. */
export function renewed(read: Losses, page: Losses): Losses {
  const [top, last] = [read.items[0], page.items.at(-1)]
  if (!page.next || !top || !last || below(top, last)) return page
  const earlier = without(read.items, page.items).filter((l) => below(l, last))
  return earlier.length ? { items: [...page.items, ...earlier], next: read.next } : page
}

/** One page more; a row that has moved up meanwhile stays where it is. */
export function extended(read: Losses, page: Losses): Losses {
  return { items: [...read.items, ...without(page.items, read.items)], next: page.next }
}
