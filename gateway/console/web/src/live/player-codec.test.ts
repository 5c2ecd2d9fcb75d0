import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type Asked, inBrowser, Ladder, type Standing } from './player'

/** A video element, as far as players that never play touch it. */
const video = () => ({ buffered: { length: 0 }, removeAttribute() {}, load() {}, play: () => Promise.resolve(), canPlayType: () => '' }) as unknown as HTMLVideoElement

/** What the gateway sends each socket that is opened: the head of its profile's format. */
let heads: Record<string, string>
let opened: string[]

class Socket {
  static CONNECTING = 0
  readyState = 1
  binaryType = ''
  onmessage?: (m: { data: string }) => void
  constructor(url: string) {
    const profile = new URL(url).searchParams.get('profile')!
    opened.push('socket/' + profile)
    queueMicrotask(() => this.onmessage?.({ data: JSON.stringify({ mode: 'live', codec: heads[profile], width: 640, height: 360 }) }))
  }
  close() {}
}

class Source {
  static isTypeSupported = (type: string) => type.includes('avc1')
}

/** A browser that decodes H.264 only, by WebRTC as by MediaSource. */
beforeEach(() => {
  vi.useFakeTimers()
  heads = { main: 'hvc1.1.6.L93.b0', sub: 'avc1.42c01e' }
  opened = []
  const parts = {
    location: { protocol: 'https:', host: 'gateway' },
    WebSocket: Socket,
    MediaSource: Source,
    RTCPeerConnection: class {
      constructor() {
        opened.push('webrtc')
      }
      addTransceiver = () => ({ receiver: {} })
      createOffer = () => new Promise(() => {})
      close() {}
    },
    MediaStream: class {},
    RTCRtpReceiver: { getCapabilities: () => ({ codecs: [{ mimeType: 'video/VP8' }, { mimeType: 'video/H264' }] }) },
  }
  for (const [name, part] of Object.entries(parts)) vi.stubGlobal(name, part)
  vi.stubGlobal('window', parts)
  vi.stubGlobal('document', { hidden: false })
  vi.spyOn(URL, 'createObjectURL').mockReturnValue('blob:picture')
  vi.spyOn(URL, 'revokeObjectURL').mockReturnValue()
})
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
})

/** Plays a camera whose main stream has the codec that its status tells. */
async function play(asked: Partial<Asked>, codec?: string) {
  const told: Standing[] = []
  const base = '/api/v1/cameras/gate'
  const l = new Ladder({ base, profile: 'main', lowLatency: false, sub: true, ...asked }, inBrowser(video(), base, () => codec), (s) => told.push(s))
  await vi.advanceTimersByTimeAsync(0)
  l.stop()
  return told.at(-1)!
}

test('an H.265 main stream that MediaSource does not take gives way to the H.264 sub-stream', async () => {
  const at = await play({}, 'h265')
  expect(opened).toEqual(['socket/main', 'socket/sub'])
  expect(at).toMatchObject({ rung: { way: 'socket', profile: 'sub' }, showing: { mode: 'live', codec: 'avc1.42c01e' }, left: [{ profile: 'main', codec: 'hvc1.1.6.L93.b0' }] })
})

test('a line that says nothing any more is taken for cut, and opened again', async () => {
  heads = { main: 'avc1.42c01e' }
  const told: string[] = []
  const l = new Ladder({ base: '', profile: 'main', lowLatency: false, sub: false }, inBrowser(video(), '', () => undefined), (s) => told.push(s.showing.mode))
  await vi.advanceTimersByTimeAsync(14_000)
  expect([opened, told.at(-1)]).toEqual([['socket/main'], 'live'])
  await vi.advanceTimersByTimeAsync(4_000)
  l.stop()
  expect(opened).toEqual(['socket/main', 'socket/main'])
  expect(told.slice(-3)).toEqual(['reconnecting', 'reconnecting', 'live'])
})

test('an H.265 main stream that WebRTC does not take is not asked for by WHEP', async () => {
  const at = await play({ lowLatency: true }, 'h265')
  expect(opened).toEqual(['webrtc'])
  expect(at).toMatchObject({ rung: { way: 'webrtc', profile: 'sub' }, left: [{ way: 'webrtc', profile: 'main', why: 'unplayable', codec: 'H265' }] })
})

test.each([['h264'], [undefined]])('WHEP is asked for %s', async (codec) => {
  const at = await play({ lowLatency: true }, codec)
  expect(at).toMatchObject({ rung: { way: 'webrtc', profile: 'main' }, showing: { mode: 'connecting' }, left: [] })
})
