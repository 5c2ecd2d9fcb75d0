import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Showing } from './player'
import { HLSPlayer } from './player-hls'

/** What hls.js is told to load and attach to, and how it tells of faults. */
const lib = vi.hoisted(() => ({ loaded: [] as string[], supported: true, on: {} as Record<string, (e: string, d: unknown) => void>, destroyed: 0 }))

vi.mock('hls.js/light', () => ({
  Events: { ERROR: 'error', MANIFEST_LOADED: 'loaded' },
  ErrorTypes: { NETWORK_ERROR: 'network' },
  default: class {
    static isSupported = () => lib.supported
    latency = 1.5
    on = (event: string, f: (e: string, d: unknown) => void) => (lib.on[event] = f)
    loadSource = (url: string) => lib.loaded.push(url)
    attachMedia = () => {}
    destroy = () => lib.destroyed++
  },
}))

const url = 'https://gateway/api/v1/cameras/gate/hls/index.m3u8?profile=main'
const playback = 'https://gateway/api/v1/cameras/gate/hls/SECRET/'
let video: { currentTime: number; src: string }
let told: Showing[]
let player: HLSPlayer

async function start(parts: object = {}) {
  video = { currentTime: 0, src: '', canPlayType: () => '', removeAttribute() {}, load() {}, play: () => Promise.resolve(), ...parts } as unknown as typeof video
  told = []
  player = new HLSPlayer(video as unknown as HTMLVideoElement, url, (s) => told.push(s))
  await vi.dynamicImportSettled()
}

/** hls.js gives up on a request that the gateway answered so. */
async function refused(status: number, code: string, at = playback + 'edition.m3u8') {
  const networkDetails = { status, responseType: 'text', responseURL: at, responseText: JSON.stringify({ code, zh: '无', en: 'none' }) }
  lib.on.error!('error', { fatal: true, type: 'network', networkDetails })
  await vi.advanceTimersByTimeAsync(0)
}

beforeEach(() => {
  vi.useFakeTimers()
  Object.assign(lib, { loaded: [], supported: true, on: {}, destroyed: 0 })
  vi.stubGlobal('window', { MediaSource: class {} })
  vi.stubGlobal('document', { hidden: false })
})
afterEach(() => {
  player.stop()
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

test('Safari plays by itself, and so does a browser without MediaSource', async () => {
  const can = { canPlayType: () => 'maybe' }
  await start({ ...can, getStartDate: () => new Date(Number.NaN) })
  expect([video.src, lib.loaded]).toEqual([url, []])
  player.stop()
  await start(can) // Chromium
  expect([video.src, lib.loaded]).toEqual(['', [url]])
  player.stop()
  vi.stubGlobal('window', {})
  await start(can)
  expect([video.src, lib.loaded]).toEqual([url, [url]])
})

test.each<[string, number, string, string[], Showing['mode']]>([
  ['a new edition is read in the open playback', 404, 'hls_renewed', [playback + 'index.m3u8'], 'reconnecting'],
  ['a playback that is over is opened anew', 404, 'playback_over', [url], 'reconnecting'],
  ['what HLS cannot carry', 503, 'hls_not_possible', [], 'unplayable'],
  ['too many viewers', 503, 'too_many_playbacks', [], 'unreachable'],
  ['a right that has ended', 403, 'forbidden', [], 'unreachable'],
])('%s', async (_, status, code, loaded, mode) => {
  await start()
  await refused(status, code)
  expect(lib.loaded.slice(1)).toEqual(loaded)
  expect(told.at(-1)!.mode).toBe(mode)
})

test('a camera that is away is waited for, in the playback that is open', async () => {
  await start()
  for (let i = 1; i <= 5; i++) {
    await refused(503, 'camera_silent', playback + 'index.m3u8')
    expect(told.at(-1)).toMatchObject({ mode: 'wait', code: 'camera_silent' })
    await vi.advanceTimersByTimeAsync(5_000)
    expect(lib.loaded.slice(1)).toEqual(Array(i).fill(playback + 'index.m3u8'))
  }
  expect(lib.destroyed).toBe(5)
})

test('a playlist that is never found is left', async () => {
  await start()
  for (let i = 0; i < 3; i++) await refused(404, 'hls_renewed')
  expect(told.at(-1)!.mode).toBe('unreachable')
})

test('a codec that MediaSource does not take is named', async () => {
  await start()
  lib.on.loaded!('loaded', { levels: [{ attrs: { CODECS: 'hvc1.1.6.L93.b0' } }] })
  lib.on.error!('error', { fatal: true, type: 'media' })
  expect(told.at(-1)).toEqual({ mode: 'unplayable', codec: 'hvc1.1.6.L93.b0' })
})

test('a picture that stands still is left', async () => {
  await start()
  video.currentTime = 3
  await vi.advanceTimersByTimeAsync(2_000)
  expect(told.map((s) => s.mode)).toEqual(['connecting'])
  await vi.advanceTimersByTimeAsync(13_000)
  expect(told.at(-1)!.mode).toBe('unreachable')
})
