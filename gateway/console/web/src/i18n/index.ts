import { ref } from 'vue'
import { en } from './en'
import { type Key, zhCN } from './zh-CN'

export type { Key }
export type Locale = 'zh-CN' | 'en'

const sentences: Record<Locale, Record<Key, string>> = { 'zh-CN': zhCN, en }
/** The reader's language, Chinese unless chosen otherwise; stores/preferences keeps the choice. */
export const locale = ref<Locale>('zh-CN')

/** fill puts the values into a sentence's {names}. */
export function fill(sentence: string, values: Record<string, string | number> = {}): string {
  return sentence.replace(/\{(\w+)\}/g, (whole, name: string) => (name in values ? String(values[name]) : whole))
}

/** The sentence of a key in the reader's language. */
export function t(key: Key, values?: Record<string, string | number>): string {
  return fill(sentences[locale.value][key], values)
}

/** The word for a code that the gateway sends; the code itself where no word is known. */
export function word(group: string, code: string | undefined): string {
  if (!code) return ''
  const key = group + '.' + code
  return key in sentences[locale.value] ? t(key as Key) : code
}

/** What the gateway says in both languages, in the reader's. */
export function said(text: { zh: string; en: string }): string {
  return locale.value === 'en' ? text.en : text.zh
}
