import { ref, watchEffect } from 'vue'
import { locale, t } from '../i18n'

export type Theme = 'auto' | 'light' | 'dark'

const places = { language: 'offsite.language', theme: 'offsite.theme' }
const stored = localStorage.getItem(places.theme)

/** The chosen appearance; auto follows the system. */
export const theme = ref<Theme>(stored === 'light' || stored === 'dark' ? stored : 'auto')

if (localStorage.getItem(places.language) === 'en') locale.value = 'en'

watchEffect(() => {
  localStorage.setItem(places.theme, theme.value)
  document.documentElement.dataset.theme = theme.value
})
watchEffect(() => {
  localStorage.setItem(places.language, locale.value)
  document.documentElement.lang = locale.value
  document.title = t('app.name')
})
