import { shallowRef } from 'vue'
import type { Router } from 'vue-router'

/** A page that is long in coming; failed says that its program file could not be fetched, or not in time. */
export interface Opening {
  path: string
  failed: boolean
}
export const opening = shallowRef<Opening>()

const noticed = 1_000 // ms until a person is told that a page is coming
const patience = 15_000 // ms until it is taken for lost; it shows all the same when it comes after all

/**
 * watchOpening tells in opening of pages whose file does not come: without it the page before would just stay. It
 * also hears of an address that is changed before the first page is there, which the router does not.
 */
export function watchOpening(router: Router): void {
  let asked = ''
  let timers: ReturnType<typeof setTimeout>[] = []
  function end(): void {
    timers.forEach(clearTimeout)
    timers = []
    opening.value = undefined
  }
  router.beforeEach((to) => {
    end()
    const path = (asked = to.fullPath)
    timers = [[noticed, false], [patience, true]].map(([ms, failed]) => setTimeout(() => (opening.value = { path, failed: !!failed }), Number(ms)))
  })
  router.afterEach((to) => {
    if (to.fullPath === asked) end()
  })
  router.onError((e, to) => {
    console.warn(e)
    if (to.fullPath !== asked) return
    end()
    opening.value = { path: asked, failed: true }
  })

  const early = () => void router.push(location.hash.slice(1) || '/')
  window.addEventListener('hashchange', early)
  void router.isReady().catch(() => {}).then(() => window.removeEventListener('hashchange', early))
}

/**
 * Opens the page anew with the whole console, because browsers remember a file that failed and an upgraded gateway has
 * other ones. False where the gateway does not answer: what shows is better than a browser's page of error.
 */
export async function reopen(path: string): Promise<boolean> {
  try {
    if (!(await fetch(location.pathname, { cache: 'no-store', signal: AbortSignal.timeout(patience) })).ok) return false
  } catch {
    return false
  }
  location.hash = '#' + path
  location.reload()
  return true
}
