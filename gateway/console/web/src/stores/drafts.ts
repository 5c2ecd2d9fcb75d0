import { defineStore } from 'pinia'
import { ref } from 'vue'
import type { Draft } from '../registry/fields'

/**
 * What is typed and not yet saved, so that a session that ends in the middle of
 * a form loses nothing. Only whoever typed it gets it back.
 */
export const useDrafts = defineStore('drafts', () => {
  const kept = new Map<string, { draft: Draft; version?: number }>()
  const owner = ref('')

  function openFor(person: string): void {
    if (owner.value !== person) kept.clear()
    owner.value = person
  }
  const keep = (form: string, draft: Draft, version?: number) => void kept.set(form, { draft, version })
  const drop = (form: string) => void kept.delete(form)
  const find = (form: string) => kept.get(form)

  return { openFor, keep, drop, find }
})
