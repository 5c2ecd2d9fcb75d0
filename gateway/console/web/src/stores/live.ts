import { defineStore } from 'pinia'
import { reactive, ref } from 'vue'
import { call } from '../api/client'
import { empty, reduce } from '../live/reduce'
import { follow } from '../live/sse'

/** The live stream of the gateway, kept open while somebody is signed in. */
export const useLive = defineStore('live', () => {
  const state = reactive(empty())
  const link = ref<'connecting' | 'open' | 'lost'>('connecting')
  const lastHeard = ref(0)
  const now = ref(Date.now()) // the gateway's clock, once a second
  let running: AbortController | undefined

  setInterval(() => {
    now.value = Date.now() + state.now
  }, 1000)

  function start(): void {
    if (running) return
    running = new AbortController()
    void run(running.signal)
  }

  function stop(): void {
    running?.abort()
    running = undefined
    Object.assign(state, empty())
    link.value = 'connecting'
  }

  async function run(signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted; failures++) {
      const end = await follow('/api/v1/live', (m) => {
        reduce(state, m.name, JSON.parse(m.data), Date.now())
        lastHeard.value = now.value = Date.now() + state.now
        link.value = 'open'
        failures = 0
      }, signal)
      if (signal.aborted) return
      link.value = 'lost'
      // The status alone does not say whether the session has ended; /me does,
      // and leads to the sign-in page.
      if (end !== 'broken' && end.refused < 500) await call('GET', '/me').catch(() => {})
      await pause(Math.min(10_000, 500 * 2 ** failures), signal)
    }
  }

  return { state, link, lastHeard, now, start, stop }
})

// The browser says when the network is back; no need to wait the rest.
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms)
    function done() {
      clearTimeout(timer)
      window.removeEventListener('online', done)
      signal.removeEventListener('abort', done)
      resolve()
    }
    window.addEventListener('online', done)
    signal.addEventListener('abort', done)
  })
}
