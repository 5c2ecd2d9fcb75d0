/** Where a tour 轮巡 stands: the page shown, and the one that is being opened behind it. */
export interface Tour {
  page: number
  coming?: number
  asked?: boolean // somebody turned the page: nothing holds it back
  spent: number // ms on this page while nothing held it
}

/** What a step of the tour looks at. Times in ms. */
export interface Step {
  ms: number // since the step before
  pages: number
  dwell: number // 0: pages are turned by hand alone
  held: boolean // somebody looks closer, or there is an alarm
  ready: boolean // every picture of the coming page shows, or says why not
}

const early = 5_000 // before its time the next page's pictures are opened
const patience = 5_000 // after it, a camera that does not come holds up its page no longer
const politeness = 1_500 // the same where somebody waits for the page

/** step moves a tour on: the next page is opened before the present one's time is over, and shown when its pictures are there. */
export function step(t: Tour, s: Step): Tour {
  if (t.page >= s.pages) return { page: 0, spent: 0 }
  if (t.asked) return turn(t, s, s.ready || t.spent + s.ms >= politeness)
  if (!s.dwell || s.pages < 2) return { page: t.page, spent: 0 }
  if (s.held) return { page: t.page, spent: Math.min(t.spent, s.dwell - Math.min(early, s.dwell / 2)) }
  const spent = t.spent + s.ms
  const coming = t.coming ?? (spent >= s.dwell - Math.min(early, s.dwell / 2) ? (t.page + 1) % s.pages : undefined)
  const due = spent >= s.dwell && (s.ready || spent >= s.dwell + patience)
  return turn({ page: t.page, coming, spent: t.spent }, s, due && t.coming !== undefined)
}

function turn(t: Tour, s: Step, now: boolean): Tour {
  return now ? { page: t.coming ?? t.page, spent: 0 } : { ...t, spent: t.spent + s.ms }
}

/** ask turns to a page as soon as its pictures show. */
export const ask = (t: Tour, page: number): Tour => (page === t.page ? { page, spent: 0 } : { page: t.page, coming: page, asked: true, spent: 0 })

/** Whole seconds until the page is turned. */
export const left = (t: Tour, dwell: number): number => Math.max(0, Math.ceil((dwell - t.spent) / 1000))
