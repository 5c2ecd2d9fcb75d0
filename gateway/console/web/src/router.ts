import { createRouter, createWebHashHistory } from 'vue-router'
import Cameras from './rooms/Cameras.vue'
import Event from './rooms/Event.vue'
import Events from './rooms/Events.vue'
import LinkIn from './rooms/LinkIn.vue'
import Missing from './rooms/Missing.vue'
import Overview from './rooms/Overview.vue'
import Password from './rooms/Password.vue'

// What people watch all day is in the first file; what they open now and then comes when asked for.
export const router = createRouter({
  history: createWebHashHistory(),
  scrollBehavior: (_to, _from, saved) => saved ?? { top: 0 },
  routes: [
    { path: '/', name: 'overview', component: Overview },
    { path: '/link/:secret', name: 'link', component: LinkIn, props: true, alias: '/link=:secret' },
    { path: '/events', name: 'events', component: Events },
    { path: '/events/:id', name: 'event', component: Event, props: true },
    { path: '/wall', name: 'wall', component: () => import('./rooms/Wall.vue') },
    { path: '/cameras/:id?', name: 'cameras', component: Cameras, props: true },
    { path: '/cameras/:id/recordings', name: 'recordings', component: () => import('./rooms/Recordings.vue'), props: true },
    { path: '/password', name: 'password', component: Password },
    { path: '/register/:kind?', name: 'register', component: () => import('./rooms/Register.vue'), props: true },
    { path: '/register/:kind/:id', name: 'form', component: () => import('./rooms/Form.vue'), props: true },
    { path: '/instruments', name: 'instruments', component: () => import('./rooms/Instruments.vue') },
    { path: '/instruments/:id', name: 'instrument', component: () => import('./rooms/Instrument.vue'), props: true },
    { path: '/discover/:device?', name: 'discover', component: () => import('./rooms/Discover.vue'), props: true },
    { path: '/tables', name: 'tables', component: () => import('./rooms/Tables.vue') },
    { path: '/devices', name: 'devices', component: () => import('./rooms/Devices.vue') },
    { path: '/letters/:device?', name: 'letters', component: () => import('./rooms/Letters.vue'), props: true },
    { path: '/devices/:id', name: 'device', component: () => import('./rooms/Device.vue'), props: true },
    { path: '/devices/:id/swap', name: 'swap', component: () => import('./rooms/Swap.vue'), props: true },
    { path: '/platform', name: 'platform', component: () => import('./rooms/Platform.vue') },
    { path: '/trust', name: 'trust', component: () => import('./rooms/Trust.vue') },
    { path: '/people', name: 'people', component: () => import('./rooms/People.vue') },
    { path: '/scan', name: 'scan', component: () => import('./rooms/Scan.vue') },
    { path: '/points/:id', name: 'past', component: () => import('./rooms/Past.vue'), props: true },
    { path: '/retired', name: 'retired', component: () => import('./rooms/Retired.vue') },
    { path: '/audit', name: 'audit', component: () => import('./rooms/Audit.vue') },
    { path: '/:rest(.*)*', name: 'missing', component: Missing },
  ],
})
