import { ref, shallowReactive, watch } from 'vue'
import { type Key, zhCN } from './zh-CN'

export type { Key }
export type Locale = 'zh-CN' | 'en'

// Chinese comes with the first file; the other language when somebody reads it.
const sentences = shallowReactive<{ 'zh-CN': Record<Key, string>; en?: Record<Key, string> }>({ 'zh-CN': zhCN })
/** The reader's language, Chinese unless chosen otherwise; stores/preferences keeps the choice. */
export const locale = ref<Locale>('zh-CN')

let coming: Promise<void> | undefined
watch(locale, (l) => l === 'en' && void spoken(), { flush: 'sync' })

/** Resolves when the sentences of the chosen language are there; without them, as without network, Chinese ones stand in. */
export function spoken(): Promise<void> {
  if (locale.value !== 'en' || sentences.en) return Promise.resolve()
  coming ??= import('./en')
    .then((m) => void (sentences.en = m.en))
    .catch(() => (coming = undefined))
  return coming
}

const all = () => sentences[locale.value] ?? zhCN

/** fill puts the values into a sentence's {names}, and where it says {name|one|many} the word for as many. */
export function fill(sentence: string, values: Record<string, string | number> = {}): string {
  return sentence.replace(/\{(\w+)(?:\|([^|}]*)\|([^|}]*))?\}/g, (whole, name: string, one?: string, many?: string) => {
    if (!(name in values)) return whole
    return String(one === undefined ? values[name] : Number(values[name]) === 1 ? one : many)
  })
}

/** The sentence of a key in the reader's language. */
export function t(key: Key, values?: Record<string, string | number>): string {
  return fill(all()[key], values)
}

/** The word for a code that the gateway sends; the code itself where no word is known. */
export function word(group: string, code: string | undefined): string {
  if (!code) return ''
  const key = group + '.' + code
  return key in all() ? t(key as Key) : code
}

/** Words in brackets, which Chinese sets in its own. */
export const aside = (words: string | number): string => (locale.value === 'en' ? ` (${words})` : `（${words}）`)

/** Names one after another. */
export const listed = (names: string[]): string => names.join(locale.value === 'en' ? ', ' : '、')

/** The codes of a group for which there are words. */
export const codesOf = (group: string): string[] => Object.keys(zhCN).filter((k) => k.startsWith(group + '.')).map((k) => k.slice(group.length + 1))

/** What the gateway says in both languages, in the reader's. */
export function said(text: { zh: string; en: string }): string {
  return locale.value === 'en' ? text.en : text.zh
}
