import { defineStore } from 'pinia'
import { ref } from 'vue'
import { withoutSecrets } from '../registry/draft'
import type { Draft } from '../registry/fields'

/** What is typed in one form and not yet saved. */
export interface Kept {
  draft: Draft
  /** Of the thing that is replaced; absent while something new is made. */
  version?: number
  /** It was sent and no answer came: it may be saved already. */
  sent?: boolean
  /** When it was last touched, Unix milliseconds. */
  at: number
  /** What was typed and is not kept over a reload: fields to be typed again. */
  missing: string[]
}

const days = 7 // after that nobody remembers what it was
const most = 20

/**
 * Drafts of forms, so that a session that ends, a reload or a tab that the
 * phone has put away loses nothing. They lie in localStorage under
 * `offsite.draft/{person}/{form}` as JSON of Kept, never with a secret: those
 * live in memory alone. Only whoever typed a draft gets it back; signing out
 * clears them all (the gateway sends Clear-Site-Data).
 */
export const useDrafts = defineStore('drafts', () => {
  const inMemory = new Map<string, Kept>()
  const owner = ref('')
  /** The forms that have drafts, the newest first. */
  const forms = ref<{ form: string; at: number }[]>([])

  const place = (form: string) => `offsite.draft/${owner.value}/${form}`

  function openFor(person: string): void {
    if (owner.value !== person) inMemory.clear()
    owner.value = person
    const oldest = Date.now() - days * 86_400_000
    const all = stored(place('')).sort((a, b) => b.at - a.at)
    for (const x of all.filter((d, i) => d.at < oldest || i >= most)) localStorage.removeItem(place(x.form))
    tell()
  }

  function keep(form: string, draft: Draft, secrets: string[], more: { version?: number; sent?: boolean } = {}): void {
    const whole = JSON.parse(JSON.stringify(draft)) as Draft
    const at = Date.now()
    inMemory.set(form, { draft: whole, missing: [], at, ...more })
    try {
      localStorage.setItem(place(form), JSON.stringify({ ...withoutSecrets(whole, secrets), at, ...more }))
    } catch {
      // a full or forbidden storage: the draft still outlives the session in memory
    }
    tell()
  }

  function drop(form: string): void {
    inMemory.delete(form)
    localStorage.removeItem(place(form))
    tell()
  }

  function find(form: string): Kept | undefined {
    return inMemory.get(form) ?? read(place(form))
  }

  function tell(): void {
    forms.value = stored(place('')).sort((a, b) => b.at - a.at)
  }

  return { forms, openFor, keep, drop, find }
})

function read(key: string): Kept | undefined {
  try {
    const kept = JSON.parse(localStorage.getItem(key) ?? 'null') as Kept | null
    return kept && typeof kept.draft === 'object' && Array.isArray(kept.missing) ? kept : undefined
  } catch {
    return undefined // not ours
  }
}

function stored(prefix: string): { form: string; at: number }[] {
  const keys = Array.from({ length: localStorage.length }, (_, i) => localStorage.key(i)!).filter((k) => k.startsWith(prefix))
  return keys.map((k) => ({ form: k.slice(prefix.length), at: read(k)?.at ?? 0 }))
}
