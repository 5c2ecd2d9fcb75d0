import { createPinia } from 'pinia'
import { createApp } from 'vue'
import App from './App.vue'
import { spoken } from './i18n'
import { router } from './router'
import './stores/preferences'
import './style.css'

void spoken().then(() => createApp(App).use(createPinia()).use(router).mount('#app'))
