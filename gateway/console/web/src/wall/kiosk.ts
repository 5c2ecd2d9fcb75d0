import { onBeforeUnmount, onMounted, ref } from 'vue'
import { useSession } from '../stores/session'

const every = 5 * 60_000 // ms; below the least time after which a quiet session ends

/**
 * Full screen for a wall that is watched all day: the page fills the screen where
 * the browser lets it, the screen stays on, and the session, whose pictures come
 * without requests, does not end for lack of input.
 */
export function useKiosk() {
  const session = useSession()
  const on = ref(false)
  let lock: WakeLockSentinel | undefined
  let timer: ReturnType<typeof setInterval> | undefined

  async function awake(): Promise<void> {
    if (!on.value || document.hidden || !('wakeLock' in navigator)) return
    try {
      lock = await navigator.wakeLock.request('screen')
      if (!on.value) void lock.release()
    } catch {
      // a machine on low battery refuses; the wall shows all the same
    }
  }

  function begin(): void {
    on.value = true
    // Phones have no full screen of their own: there the wall covers the console's bars alone.
    document.documentElement.requestFullscreen?.({ navigationUI: 'hide' }).then(lockEscape).catch(() => {})
    timer = setInterval(() => void session.renew(), every)
    void awake()
  }

  // With it Escape leaves an enlarged picture first, and the full screen when held; browsers without it leave at once.
  function lockEscape(): void {
    const keyboard = (navigator as { keyboard?: { lock?: (keys: string[]) => Promise<void> } }).keyboard
    void keyboard?.lock?.(['Escape']).catch(() => {})
  }

  function end(): void {
    on.value = false
    clearInterval(timer)
    void lock?.release().catch(() => {})
    lock = undefined
    if (document.fullscreenElement) void document.exitFullscreen().catch(() => {})
  }

  const left = () => !document.fullscreenElement && on.value && end()
  const visible = () => void awake() // the browser lets go of the lock whenever the page is hidden

  onMounted(() => {
    document.addEventListener('fullscreenchange', left)
    document.addEventListener('visibilitychange', visible)
  })
  onBeforeUnmount(() => {
    document.removeEventListener('fullscreenchange', left)
    document.removeEventListener('visibilitychange', visible)
    if (on.value) end()
  })
  return { on, toggle: () => (on.value ? end() : begin()), end }
}
