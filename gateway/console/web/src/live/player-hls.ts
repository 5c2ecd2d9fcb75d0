import type Hls from 'hls.js/light'
import type { ErrorData, HlsConfig } from 'hls.js/light'
import { type Problem, problemOf } from '../api/client'
import type { Player, Showing } from './player'

const frozen = 12_000 // milliseconds until the first picture, and without a new one
const behind = 8 // seconds behind the camera, after which it jumps to the newest pictures
const pause = 5_000 // milliseconds until a camera that is away is asked for again
const patience = 3 // failures without a new picture before another way is tried

const settings: Partial<HlsConfig> = {
  lowLatencyMode: true,
  enableWorker: false, // the segments are fragmented MP4 already: there is nothing to convert
  backBufferLength: 20, // seconds
  maxLiveSyncPlaybackRate: 1.1,
}

/**
 * HLSPlayer shows a camera's Low-Latency HLS (streams/hls) in a video element
 * until stop is called: Safari plays it by itself, every other browser by hls.js,
 * which is loaded only then. Its first request opens a playback; all others go to
 * the address that the gateway answers with.
 */
export class HLSPlayer implements Player {
  private readonly watch = setInterval(() => this.look(), 1000)
  private moved = Date.now()
  private time = 0
  private hls?: Hls
  private codec = 'HLS'
  private failures = 0
  private stopped = false
  private retry?: ReturnType<typeof setTimeout>

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly url: string,
    private readonly tell: (s: Showing) => void,
  ) {
    this.tell({ mode: 'connecting' })
    video.onloadeddata = () => this.tell({ mode: 'live', codec: this.codec, width: video.videoWidth, height: video.videoHeight })
    if (playsItself(video)) this.native()
    else void this.load(url)
  }

  stop(): void {
    this.stopped = true
    clearInterval(this.watch)
    clearTimeout(this.retry)
    this.release()
    this.video.onerror = this.video.onloadeddata = null
  }

  lag(): number {
    if (this.hls) return this.hls.latency
    // The playlist dates its segments; Safari alone tells.
    const began = (this.video as Dated).getStartDate?.().getTime()
    if (began) return Math.max(0, (Date.now() - began) / 1000 - this.video.currentTime)
    const b = this.video.seekable
    return b.length ? Math.max(0, b.end(b.length - 1) - this.video.currentTime) : 0
  }

  private native(): void {
    this.video.onerror = () => this.over(this.video.error?.code === MediaError.MEDIA_ERR_NETWORK ? { mode: 'unreachable' } : { mode: 'unplayable', codec: 'HLS' })
    this.video.src = this.url
    void this.video.play().catch(() => {}) // the browser may ask for a touch first
  }

  private async load(from: string): Promise<void> {
    const library = await import('hls.js/light').catch(() => undefined)
    if (this.stopped) return
    if (!library) return this.over({ mode: 'unreachable' })
    if (!library.default.isSupported()) return this.over({ mode: 'unplayable', codec: this.codec })
    const hls = new library.default(settings)
    this.hls = hls
    hls.on(library.Events.MANIFEST_LOADED, (_, m) => (this.codec = m.levels[0]?.attrs.CODECS ?? this.codec))
    hls.on(library.Events.ERROR, (_, e) => {
      if (e.fatal && hls === this.hls) this.failed(e, e.type === library.ErrorTypes.NETWORK_ERROR)
    })
    hls.loadSource(from)
    hls.attachMedia(this.video)
  }

  // hls.js has asked MediaSource.isTypeSupported for what the playlist names
  // before it loads any picture, and has tried each request again.
  private failed(e: ErrorData, network: boolean): void {
    this.release()
    this.failures++
    if (!network) return this.time ? this.again(this.url) : this.over({ mode: 'unplayable', codec: this.codec })
    const request = e.networkDetails as XMLHttpRequest | undefined
    const at = request?.responseURL
    if (!at) return this.over({ mode: 'unreachable' })
    const why = problemIn(request)
    const index = new URL('index.m3u8', at).href
    // The camera has come back with another format, or the playback is over.
    if (why.status === 404) this.again(why.code === 'playback_over' ? this.url : index)
    else if (why.code === 'hls_not_possible') this.over({ mode: 'unplayable', codec: this.codec })
    else if (why.status === 503 && !/^hls_|^too_many/.test(why.code)) this.wait(why, index)
    else this.over({ mode: 'unreachable' })
  }

  private again(from: string): void {
    if (this.failures >= patience) return this.over({ mode: 'unreachable' })
    this.tell({ mode: 'reconnecting' })
    this.moved = Date.now()
    void this.load(from)
  }

  // A camera that is away is waited for, in the playback that is open.
  private wait(why: Problem, index: string): void {
    this.failures = 0
    this.tell({ mode: 'wait', code: why.code, zh: why.zh, en: why.en })
    this.retry = setTimeout(() => {
      this.retry = undefined
      this.again(index)
    }, pause)
  }

  private look(): void {
    if (this.video.currentTime !== this.time) {
      this.time = this.video.currentTime
      this.moved = Date.now()
      this.failures = 0
    } else if (document.hidden || this.retry) this.moved = Date.now()
    else if (Date.now() - this.moved > frozen) return this.over({ mode: 'unreachable' })
    if (this.hls?.liveSyncPosition && this.hls.latency > behind) this.video.currentTime = this.hls.liveSyncPosition
    if (this.video.paused) void this.video.play().catch(() => {})
  }

  private over(s: Showing): void {
    clearInterval(this.watch)
    this.tell(s)
  }

  private release(): void {
    this.hls?.destroy()
    this.hls = undefined
    this.video.removeAttribute('src')
    this.video.load()
  }
}

/** What Safari alone tells: the time of the camera at which its media began. */
interface Dated {
  getStartDate?: () => Date
}

/**
 * Whether the browser is left to play HLS by itself. Chromium does it too, but
 * without the low latency: only where there is no MediaSource is that enough.
 */
function playsItself(video: HTMLVideoElement): boolean {
  const can = !!video.canPlayType('application/vnd.apple.mpegurl')
  return can && ((video as Dated).getStartDate !== undefined || !('MediaSource' in window))
}

function problemIn(request: XMLHttpRequest): Problem {
  return problemOf(request.status, request.responseType === 'text' || request.responseType === '' ? request.responseText : '')
}
