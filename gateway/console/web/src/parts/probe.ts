import { onBeforeUnmount, ref } from 'vue'
import { call, Problem, type Schemas } from '../api/client'

/** Drivers whose devices can be tried before they are saved. */
export const probed: readonly string[] = ['modbus', 'mqtt', 'broker', 'hj212']

/** What a test of a device or of a camera saw. */
export type Seen = Schemas['ProbeReport'] & Partial<Schemas['CameraProbeReport']>

/** useProbe tries a form that is not saved: while it runs, how long; then what was seen. */
export function useProbe() {
  const seconds = ref(-1) // -1 while none runs
  const report = ref<Seen>()
  const of = ref('') // what was tried, to tell that the form has changed since
  const problem = ref<Problem>()
  let timer: ReturnType<typeof setInterval>
  let turn = 0

  /** Tries what body gives, a device unless said otherwise; it may ask the gateway first what would be registered. */
  async function run(subject: string, body: () => Promise<unknown>, path = '/devices:probe'): Promise<void> {
    const mine = ++turn
    const began = Date.now()
    seconds.value = 0
    clearInterval(timer)
    timer = setInterval(() => (seconds.value = Math.floor((Date.now() - began) / 1000)), 250)
    problem.value = report.value = undefined
    try {
      const seen = await call<Seen>('POST', path, await body())
      if (mine !== turn) return
      report.value = seen
      of.value = subject
    } catch (e) {
      if (!(e instanceof Problem)) throw e
      if (mine === turn) problem.value = e
    } finally {
      if (mine === turn) {
        clearInterval(timer)
        seconds.value = -1
      }
    }
  }
  onBeforeUnmount(() => {
    turn++
    clearInterval(timer)
  })
  return { seconds, report, of, problem, run }
}
