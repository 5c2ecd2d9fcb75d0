import { ref } from 'vue'
import { Problem } from '../api/client'
import { said } from '../i18n'

/** useSubmit runs one request of a form: whether it is under way, what went wrong, and where. */
export function useSubmit(fields: string[]) {
  const busy = ref(false)
  const problem = ref<Problem>()

  async function submit(request: () => Promise<void>): Promise<boolean> {
    if (busy.value) return false
    busy.value = true
    problem.value = undefined
    try {
      await request()
      return true
    } catch (e) {
      if (!(e instanceof Problem)) throw e
      problem.value = e
      return false
    } finally {
      busy.value = false
    }
  }

  const errorOf = (field: string) => {
    const found = problem.value?.fields.find((f) => f.field === field)
    return found && said(found)
  }
  /** The problem, unless all of it stands beside fields. */
  const general = () => {
    const p = problem.value
    return p && (p.fields.length === 0 || p.fields.some((f) => !fields.includes(f.field))) ? p : undefined
  }
  return { busy, problem, submit, errorOf, general }
}
