import { defineStore } from 'pinia'
import { reactive, ref } from 'vue'
import { call, Problem, type Schemas } from '../api/client'

/** The templates of instruments, read once: they change only with the gateway's own files. */
export const useTemplates = defineStore('templates', () => {
  const list = ref<Schemas['TemplateList']['items']>()
  const whole = reactive(new Map<string, Schemas['Template']>())
  const problem = ref<Problem>()
  let reading: Promise<void> | undefined

  function load(): Promise<void> {
    if (list.value) return Promise.resolve()
    problem.value = undefined
    reading ??= call<Schemas['TemplateList']>('GET', '/templates')
      .then((all) => void (list.value = all.items))
      .catch((e: unknown) => {
        if (!(e instanceof Problem)) throw e
        problem.value = e
      })
      .finally(() => (reading = undefined))
    return reading
  }
  /** Reads one with its parameters, if it has not been read. */
  async function open(id: string): Promise<void> {
    problem.value = undefined
    try {
      if (!whole.has(id)) whole.set(id, await call<Schemas['Template']>('GET', '/templates/' + encodeURIComponent(id)))
    } catch (e) {
      if (!(e instanceof Problem)) throw e
      problem.value = e
    }
  }
  return { list, whole, problem, load, open }
})
