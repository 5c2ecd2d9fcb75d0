import { defineStore } from 'pinia'
import { computed, ref } from 'vue'
import { call, onSignedOut, Problem, type Schemas } from '../api/client'

type Me = Schemas['Me']

/** Who is signed in, and what that allows. */
export const useSession = defineStore('session', () => {
  const me = ref<Me>()
  const state = ref<'asking' | 'setup' | 'out' | 'password' | 'in'>('asking')
  const ended = ref(false) // the gateway ended a session that was open here

  onSignedOut(() => {
    if (state.value === 'in' || state.value === 'password') ended.value = true
    if (state.value !== 'setup') state.value = 'out'
    me.value = undefined
  })

  function enter(who: Me): void {
    me.value = who
    ended.value = false
    state.value = who.must_change_password ? 'password' : 'in'
  }

  /** Asks whether a session is open; where none is, whether anybody exists yet. */
  async function ask(): Promise<void> {
    try {
      enter(await call<Me>('GET', '/me'))
    } catch (e) {
      if (!(e instanceof Problem) || e.status !== 401) throw e
      ended.value = false
      state.value = (await call<Schemas['SetupState']>('GET', '/setup')).needed ? 'setup' : 'out'
    }
  }

  /** Asks again, which keeps the session open, and learns how long it may last. */
  const renew = () => call<Me>('GET', '/me').then((who) => state.value === 'in' && void (me.value = who), () => {}) // a session that has ended is told by itself

  const signIn = async (id: string, password: string) => enter(await call<Me>('POST', '/session', { id, password }))
  const signInByLink = async (link: string) => enter(await call<Me>('POST', '/session/link', { link }))
  const setUp = async (body: Schemas['SetupRequest']) => enter(await call<Me>('POST', '/setup', body))
  const changePassword = async (old: string, next: string) => enter(await call<Me>('POST', '/me/password', { old, new: next }))

  async function signOut(): Promise<void> {
    await call('DELETE', '/session')
    me.value = undefined
    state.value = 'out'
  }

  const role = computed(() => me.value?.role)
  const mayRegister = computed(() => role.value === 'administrator' || role.value === 'field_engineer')
  const mayAcknowledge = computed(() => mayRegister.value || role.value === 'staff')
  const mayAdminister = computed(() => role.value === 'administrator')
  const maySeePlatform = computed(() => mayAcknowledge.value)

  return { me, state, ended, ask, renew, signIn, signInByLink, setUp, changePassword, signOut, mayRegister, mayAcknowledge, mayAdminister, maySeePlatform }
})
