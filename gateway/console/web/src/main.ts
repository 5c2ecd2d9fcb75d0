import { createPinia } from 'pinia'
import { createApp } from 'vue'
import App from './App.vue'
import { spoken } from './i18n'
import { router } from './router'
import { watchOpening } from './stores/opening'
import './stores/preferences'
import './style.css'

// Chinese words stand in for those of another language that do not come.
const patience = new Promise((resolve) => setTimeout(resolve, 3000))
watchOpening(router)
void Promise.race([spoken(), patience]).then(() => createApp(App).use(createPinia()).use(router).mount('#app'))
