import type { Player, Showing } from './player'

const patience = 8_000 // milliseconds until the first picture, and without a new one

/**
 * HLSPlayer gives the camera's Low-Latency HLS to a browser that plays it by
 * itself, as Safari on telephones does, until stop is called.
 */
export class HLSPlayer implements Player {
  private readonly watch = setInterval(() => this.look(), 1000)
  private moved = Date.now()
  private time = -1

  constructor(
    private readonly video: HTMLVideoElement,
    url: string,
    private readonly tell: (s: Showing) => void,
  ) {
    if (!video.canPlayType('application/vnd.apple.mpegurl')) {
      this.over({ mode: 'unplayable', codec: 'HLS' })
      return
    }
    this.tell({ mode: 'connecting' })
    video.onerror = () => this.over(video.error?.code === MediaError.MEDIA_ERR_NETWORK ? { mode: 'unreachable' } : { mode: 'unplayable', codec: 'HLS' })
    video.onloadeddata = () => this.tell({ mode: 'live', codec: 'HLS', width: video.videoWidth, height: video.videoHeight })
    video.src = url
    void video.play().catch(() => {}) // the browser may ask for a touch first
  }

  stop(): void {
    clearInterval(this.watch)
    this.video.onerror = this.video.onloadeddata = null
    this.video.removeAttribute('src')
    this.video.load()
  }

  lag(): number {
    // The playlist dates its segments; Safari alone tells.
    const began = (this.video as { getStartDate?: () => Date }).getStartDate?.().getTime()
    if (began) return Math.max(0, (Date.now() - began) / 1000 - this.video.currentTime)
    const b = this.video.seekable
    return b.length ? Math.max(0, b.end(b.length - 1) - this.video.currentTime) : 0
  }

  private look(): void {
    if (this.video.currentTime !== this.time) {
      this.time = this.video.currentTime
      this.moved = Date.now()
    } else if (document.hidden) this.moved = Date.now()
    else if (Date.now() - this.moved > patience) this.over({ mode: 'unreachable' })
    if (this.video.paused) void this.video.play().catch(() => {})
  }

  private over(s: Showing): void {
    clearInterval(this.watch)
    this.tell(s)
  }
}
