import type { Player, Showing } from './player'

interface Head {
  mode: string
  codec: string
  width: number
  height: number
  code: string
  zh: string
  en: string
  ms: number
}

const behind = 2.5 // seconds behind the end before the player jumps
const calm = 0.8 // seconds behind the end up to which it plays at its own pace; beyond, a little faster
const keep = 20 // seconds kept behind the picture
const margin = 0.5 // seconds before the end where the player joins
const hold = 3 // half-seconds without progress before it jumps over whatever holds it
const patience = 3 // failures in a row before another way is tried
const silence = 15_000 // milliseconds without a word: the gateway sends one at least every 5 s, so the line is cut

/**
 * SocketPlayer shows the fragments of streams/fmp4 in a video element until stop is
 * called. It connects again by itself; each new head begins a new MediaSource,
 * because format and clock may differ from those before.
 */
export class SocketPlayer implements Player {
  private socket?: WebSocket
  private source?: MediaSource
  private buffer?: SourceBuffer
  private address = ''
  private queue: ArrayBuffer[] = []
  private pictures = false
  private travel = 0 // seconds that the newest picture was old on arrival
  private retry?: ReturnType<typeof setTimeout>
  private readonly watch = setInterval(() => this.look(), 500)
  private failures = 0
  private stopped = false
  private stuck = 0
  private lastTime = -1
  private known = 0 // where the end was when it moved last, seconds
  private heard = 0

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly url: string,
    private readonly tell: (s: Showing) => void,
  ) {
    this.connect()
  }

  stop(): void {
    this.stopped = true
    clearInterval(this.watch)
    clearTimeout(this.retry)
    const socket = this.socket
    this.socket = undefined
    if (socket) leave(socket)
    this.release()
  }

  /** Seconds between what the camera sees and what is shown, as far as both sides know. */
  lag(): number {
    const b = this.video.buffered
    return this.travel + (b.length ? Math.max(0, b.end(b.length - 1) - this.video.currentTime) : 0)
  }

  private connect(): void {
    this.tell({ mode: this.failures ? 'reconnecting' : 'connecting' })
    const socket = new WebSocket(this.url)
    this.heard = Date.now()
    socket.binaryType = 'arraybuffer'
    socket.onmessage = (m: MessageEvent<string | ArrayBuffer>) => {
      if (socket !== this.socket) return
      this.failures = 0
      this.heard = Date.now()
      if (typeof m.data === 'string') this.head(JSON.parse(m.data) as Head)
      else if (this.pictures) this.picture(m.data)
      else {
        this.queue.push(m.data)
        this.pump()
      }
    }
    socket.onclose = () => socket === this.socket && this.lost()
    this.socket = socket
  }

  private look(): void {
    if (this.socket && Date.now() - this.heard > silence) this.lost()
    else this.follow(true)
  }

  private lost(): void {
    if (this.stopped) return
    const socket = this.socket
    this.socket = undefined
    if (socket) leave(socket)
    this.failures++
    this.release()
    this.tell({ mode: this.failures >= patience ? 'unreachable' : 'reconnecting' })
    this.retry = setTimeout(() => this.connect(), Math.min(15_000, 500 * 2 ** this.failures))
  }

  private head(h: Head): void {
    if (h.mode === 'wait') {
      this.release()
      this.tell({ mode: 'wait', code: h.code, zh: h.zh, en: h.en })
    } else if (h.mode === 'live') this.begin(h)
    else if (h.mode === 'lag') this.travel = h.ms / 1000
    else if (h.mode === 'mjpeg') {
      this.release()
      this.pictures = true
    }
  }

  private picture(data: ArrayBuffer): void {
    const before = this.address
    this.address = URL.createObjectURL(new Blob([data], { type: 'image/jpeg' }))
    this.tell({ mode: 'pictures', address: this.address })
    if (before) setTimeout(() => URL.revokeObjectURL(before), 1000) // the page may still be loading it
  }

  private begin(h: Head): void {
    this.release()
    const type = `video/mp4; codecs="${h.codec}"`
    if (!('MediaSource' in window) || !MediaSource.isTypeSupported(type)) {
      this.giveUp(h.codec)
      return
    }
    const source = new MediaSource()
    this.source = source
    this.address = URL.createObjectURL(source)
    this.video.src = this.address
    source.onsourceopen = () => {
      if (source !== this.source) return
      this.buffer = source.addSourceBuffer(type)
      this.buffer.onupdateend = () => {
        this.follow(false)
        this.pump()
      }
      this.pump()
    }
    this.video.onerror = () => source === this.source && this.giveUp(h.codec)
    this.tell({ mode: 'live', codec: h.codec, width: h.width, height: h.height })
  }

  // What cannot be decoded will not be decodable a second later: no more tries.
  private giveUp(codec: string): void {
    const socket = this.socket
    this.socket = undefined
    socket?.close()
    this.release()
    this.tell({ mode: 'unplayable', codec })
  }

  private pump(): void {
    const b = this.buffer
    if (!b || b.updating || !this.queue.length || this.source?.readyState !== 'open') return
    try {
      const start = b.buffered.length ? b.buffered.start(0) : 0
      if (this.video.currentTime - start > 3 * keep) b.remove(start, this.video.currentTime - keep)
      else b.appendBuffer(this.queue.shift()!)
    } catch {
      // full or closed by the browser: begin again with a fresh connection
      this.socket?.close()
    }
  }

  // Keeps the picture at the end of what has come: after joining, after the tab
  // was hidden, and over a gap that would hold it for ever.
  private follow(timed: boolean): void {
    const b = this.video.buffered
    if (!this.buffer || !b.length) return
    const end = b.end(b.length - 1)
    const begin = b.start(b.length - 1)
    if (timed) {
      this.stuck = this.video.currentTime === this.lastTime ? this.stuck + 1 : 0
      if (!this.stuck) this.known = end
      this.lastTime = this.video.currentTime
    }
    // Where nothing new has come it is left standing: the last pictures again would look alive.
    if (this.video.currentTime < begin || end - this.video.currentTime > behind || (this.stuck > hold && end > this.known)) {
      this.video.currentTime = Math.max(begin, end - margin)
      this.stuck = 0
    }
    this.video.playbackRate = end - this.video.currentTime > calm ? 1.1 : 1
    if (this.video.paused) void this.video.play().catch(() => {}) // the browser may ask for a touch first; the next turn tries again
  }

  private release(): void {
    this.queue = []
    this.pictures = false
    this.travel = 0
    this.buffer = undefined
    this.source = undefined
    this.lastTime = -1
    this.known = 0
    this.video.onerror = null
    if (!this.address) return
    URL.revokeObjectURL(this.address)
    this.address = ''
    this.video.removeAttribute('src')
    this.video.load()
  }
}

// Browsers complain in their log of one that is closed before it is open.
function leave(socket: WebSocket): void {
  if (socket.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close()
  else socket.close()
}
