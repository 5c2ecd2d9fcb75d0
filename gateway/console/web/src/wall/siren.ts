import { ref } from 'vue'

const longestMute = 10 * 60_000 // an alarm is never silent for ever
const place = 'offsite.mute' // in localStorage: when the sound comes back, Unix ms
const every = 2_000

/** mutedUntil reads when a kept mute ends; one that is too long, as after the clock was set, counts from now. */
export function mutedUntil(kept: string | null, now: number): number {
  const until = Number(kept)
  return until > now ? Math.min(until, now + longestMute) : 0
}

/** The ms that are left of a mute by a clock that may be a second behind. */
export const leftOf = (until: number, now: number): number => Math.min(until - now, longestMute)

/** Minutes and seconds that are left, as 9:05. */
export function countdown(ms: number): string {
  const s = Math.max(0, Math.ceil(ms / 1000))
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, '0')}`
}

/**
 * The sound of alarms: two tones every two seconds from sound(true) on. Browsers
 * let a page be heard after the first touch or key only; until then blocked says so.
 */
export function useSiren() {
  const blocked = ref(false)
  const until = ref(mutedUntil(localStorage.getItem(place), Date.now()))
  let audio: AudioContext | undefined
  let timer: ReturnType<typeof setInterval> | undefined

  function tone(at: number, pitch: number): void {
    const source = audio!.createOscillator()
    const loudness = audio!.createGain()
    source.frequency.value = pitch
    loudness.gain.setValueAtTime(0, at)
    loudness.gain.linearRampToValueAtTime(0.25, at + 0.02)
    loudness.gain.linearRampToValueAtTime(0, at + 0.22)
    source.connect(loudness).connect(audio!.destination)
    source.start(at)
    source.stop(at + 0.24)
  }

  const tones = () => [880, 660].forEach((pitch, i) => tone(audio!.currentTime + i * 0.26, pitch))

  function beat(): void {
    if (Date.now() < until.value) return
    audio ??= new AudioContext()
    blocked.value = audio.state !== 'running'
    if (blocked.value) void audio.resume().catch(() => {})
    else tones()
  }

  function sound(on: boolean): void {
    if (on === (timer !== undefined)) return
    clearInterval(timer)
    timer = on ? setInterval(beat, every) : undefined
    if (on) beat()
    else blocked.value = false
  }

  /** Mutes for ten minutes, or ends a mute. */
  function toggle(): void {
    until.value = until.value > Date.now() ? 0 : Date.now() + longestMute
    localStorage.setItem(place, String(until.value))
    if (timer !== undefined) beat()
  }

  /** Sounds once, muted or not, so that a person knows whether alarms are heard here; false where the browser does not let it. */
  async function test(): Promise<boolean> {
    audio ??= new AudioContext()
    await Promise.race([audio.resume().catch(() => {}), new Promise((resolve) => setTimeout(resolve, 1000))])
    if (audio.state !== 'running') return false
    tones()
    return true
  }

  const touched = () => void audio?.resume().then(() => (blocked.value = false)).catch(() => {})
  const gestures = ['pointerdown', 'keydown']
  gestures.forEach((g) => window.addEventListener(g, touched))

  function end(): void {
    sound(false)
    gestures.forEach((g) => window.removeEventListener(g, touched))
    void audio?.close()
  }

  return { blocked, until, sound, toggle, test, end }
}
