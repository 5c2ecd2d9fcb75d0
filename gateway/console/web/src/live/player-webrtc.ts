import { Problem, problemOf } from '../api/client'
import type { Player, Showing } from './player'

const joined = 5_000 // milliseconds from the answer to the first picture
const silent = 3_000 // milliseconds without a new picture
const patience = 2 // failures in a row before another way is tried

/** What getStats tells, as far as it is looked at. */
interface Figures {
  packets: number
  decoded: number
  delay: number // seconds that all decoded pictures together waited to be shown
  trip: number // seconds
}

/**
 * WebRTCPlayer shows a camera by WHEP (streams/whep) in a video element until
 * stop is called. It connects again by itself.
 */
export class WebRTCPlayer implements Player {
  private peer?: RTCPeerConnection
  private session = ''
  private before: Figures = { packets: 0, decoded: 0, delay: 0, trip: 0 }
  private moved = 0
  private begun = false
  private late = 0
  private failures = 0
  private stopped = false
  private retry?: ReturnType<typeof setTimeout>
  private readonly watch = setInterval(() => void this.look(), 500)

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly url: string,
    private readonly tell: (s: Showing) => void,
    codec?: string,
  ) {
    if (!('RTCPeerConnection' in window)) this.end({ mode: 'unplayable', codec: 'WebRTC' })
    else if (codec && !receives(codec)) this.end({ mode: 'unplayable', codec: codec.toUpperCase() })
    else void this.connect()
  }

  stop(): void {
    this.stopped = true
    clearInterval(this.watch)
    clearTimeout(this.retry)
    this.release()
  }

  lag(): number {
    return this.late
  }

  private async connect(): Promise<void> {
    this.tell({ mode: this.failures ? 'reconnecting' : 'connecting' })
    const peer = new RTCPeerConnection()
    this.peer = peer
    this.begun = false
    this.before = { packets: 0, decoded: 0, delay: 0, trip: 0 }
    const { receiver } = peer.addTransceiver('video', { direction: 'recvonly' })
    if ('jitterBufferTarget' in receiver) receiver.jitterBufferTarget = 0
    this.video.srcObject = new MediaStream([receiver.track])
    peer.onconnectionstatechange = () => {
      if (peer === this.peer && (peer.connectionState === 'failed' || peer.connectionState === 'closed')) this.lost()
    }
    try {
      const offer = await peer.createOffer()
      await peer.setLocalDescription(offer)
      // The gateway needs no addresses of ours: nothing is waited for.
      const answer = await this.ask(offer.sdp ?? '')
      if (peer !== this.peer) return
      await peer.setRemoteDescription({ type: 'answer', sdp: answer })
      this.moved = Date.now()
    } catch (e) {
      if (peer === this.peer) this.refused(e)
    }
  }

  private async ask(offer: string): Promise<string> {
    const r = await fetch(this.url, { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: offer, credentials: 'same-origin', cache: 'no-store' })
    const text = await r.text()
    if (!r.ok) throw problemOf(r.status, text)
    const session = new URL(r.headers.get('Location') ?? '', r.url).href
    if (this.stopped) void fetch(session, { method: 'DELETE' })
    this.session = session
    return text
  }

  // A camera that is away is waited for; all else is another way's turn.
  private refused(e: unknown): void {
    this.release()
    if (e instanceof Problem && e.status === 409) this.end({ mode: 'unplayable', codec: 'WebRTC' })
    else if (e instanceof Problem && e.status === 503 && !/^webrtc_|^too_many/.test(e.code)) {
      this.tell({ mode: 'wait', code: e.code, zh: e.zh, en: e.en })
      this.retry = setTimeout(() => void this.connect(), 2000)
    } else this.end({ mode: 'unreachable' })
  }

  private lost(): void {
    this.release()
    if (this.stopped) return
    if (++this.failures >= patience) this.end({ mode: 'unreachable' })
    else {
      this.tell({ mode: 'reconnecting' })
      this.retry = setTimeout(() => void this.connect(), 500)
    }
  }

  private async look(): Promise<void> {
    const peer = this.peer
    if (!peer || !this.moved) return
    const now = await figures(peer)
    if (peer !== this.peer) return
    const last = this.before
    this.before = now
    if (now.decoded > last.decoded) {
      this.late = now.trip / 2 + (now.delay - last.delay) / (now.decoded - last.decoded)
      this.moved = Date.now()
      this.failures = 0
      if (!this.begun) this.tell({ mode: 'live', codec: 'WebRTC', width: this.video.videoWidth, height: this.video.videoHeight })
      this.begun = true
      if (this.video.paused) void this.video.play().catch(() => {}) // the browser may ask for a touch first
      return
    }
    const since = Date.now() - this.moved
    if (!this.begun && since > joined) {
      if (now.packets > 0) this.end({ mode: 'unplayable', codec: 'WebRTC' })
      else this.lost()
    } else if (this.begun && since > silent && !document.hidden) {
      this.begun = false
      this.moved = Date.now()
      this.tell({ mode: 'reconnecting' })
    }
  }

  private end(s: Showing): void {
    clearInterval(this.watch)
    this.release()
    this.tell(s)
  }

  private release(): void {
    const peer = this.peer
    this.peer = undefined
    this.moved = 0
    peer?.close()
    if (this.session) void fetch(this.session, { method: 'DELETE', keepalive: true }).catch(() => {})
    this.session = ''
    this.video.srcObject = null
  }
}

/** Whether this browser takes a camera's codec (h264, h265, mjpeg) by WebRTC; a browser that does not tell is tried. */
export function receives(codec: string): boolean {
  const can = RTCRtpReceiver.getCapabilities?.('video')?.codecs
  return !can || can.some((c) => c.mimeType.toLowerCase() === 'video/' + codec)
}

async function figures(peer: RTCPeerConnection): Promise<Figures> {
  const f: Figures = { packets: 0, decoded: 0, delay: 0, trip: 0 }
  for (const s of (await peer.getStats()).values() as Iterable<Record<string, number & string>>) {
    if (s.type === 'inbound-rtp') {
      f.packets = s.packetsReceived ?? 0
      f.decoded = s.framesDecoded ?? 0
      f.delay = s.totalProcessingDelay ?? s.jitterBufferDelay ?? 0
    }
    if (s.type === 'candidate-pair' && s.nominated) f.trip = s.currentRoundTripTime ?? 0
  }
  return f
}
