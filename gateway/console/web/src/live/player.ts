import { HLSPlayer } from './player-hls'
import { SocketPlayer } from './player-socket'
import { WebRTCPlayer } from './player-webrtc'

/** What a way of playing tells its page. */
export type Showing =
  | { mode: 'connecting' | 'reconnecting' }
  | { mode: 'live'; codec: string; width: number; height: number }
  | { mode: 'pictures'; address: string } // the newest JPEG of a camera that sends them one by one
  | { mode: 'wait'; code: string; zh: string; en: string }
  | { mode: 'unplayable'; codec: string } // the browser cannot decode it
  | { mode: 'unreachable' } // the way is closed

/** One way of playing a camera in a video element; it connects again by itself. */
export interface Player {
  stop(): void
  /** Seconds between what the camera sees and what is shown, as far as both sides know. */
  lag(): number
}

/** The ways, from the least delay to the last resort. */
export type Way = 'webrtc' | 'socket' | 'hls' | 'stills'
export type Profile = 'main' | 'sub'

/** One step of the ladder. */
export interface Rung {
  way: Way
  profile: Profile
}

/** Why a rung was left. */
export interface Left extends Rung {
  why: 'unplayable' | 'unreachable'
  codec?: string
}

/** What the ladder tells its page: where it stands, what is seen there, and what did not work. */
export interface Standing {
  rung: Rung
  showing: Showing
  left: Left[]
}

export interface Asked {
  base: string // of the camera's paths: /api/v1/cameras/gate
  profile: Profile
  lowLatency: boolean
  sub: boolean // the camera has a sub-stream
}

export type Make = (rung: Rung, tell: (s: Showing) => void) => Player

const rest = 30_000 // milliseconds of stills before what was only out of reach is tried again

/** The rungs in the order in which they are tried. The sub-stream comes where the main one cannot be decoded: it is H.264 where cameras are set up well. */
export function rungs(asked: Asked): Rung[] {
  const profiles: Profile[] = asked.profile === 'main' && asked.sub ? ['main', 'sub'] : [asked.profile]
  const ways: Way[] = asked.lowLatency ? ['webrtc', 'socket', 'hls'] : ['socket', 'hls']
  const list = ways.flatMap((way) => profiles.map((profile) => ({ way, profile })))
  return [...list, { way: 'stills', profile: asked.profile }]
}

/**
 * Ladder plays a camera by the first way that works, and steps down where one
 * does not. What cannot be decoded is not tried again; what is out of reach is,
 * after some time of stills.
 */
export class Ladder {
  private readonly list: Rung[]
  private readonly left: Left[] = []
  private at = 0
  private player?: Player
  private again?: ReturnType<typeof setTimeout>

  constructor(
    asked: Asked,
    private readonly make: Make,
    private readonly tell: (s: Standing) => void,
  ) {
    this.list = rungs(asked)
    this.climb(0)
  }

  stop(): void {
    clearTimeout(this.again)
    this.player?.stop()
    this.player = undefined
  }

  lag(): number {
    return this.player?.lag() ?? 0
  }

  private get rung(): Rung {
    return this.list[this.at]!
  }

  private climb(to: number): void {
    this.at = to
    const rung = this.rung
    if (rung.way === 'stills') {
      this.show({ mode: this.left.every((l) => l.why === 'unplayable') ? 'unplayable' : 'unreachable', codec: this.left.at(-1)?.codec ?? '' })
      if (this.left.some((l) => l.why === 'unreachable')) this.again = setTimeout(() => this.retry(), rest)
      return
    }
    let over = false
    this.player = this.make(rung, (s) => {
      if (over) return
      if (s.mode !== 'unplayable' && s.mode !== 'unreachable') return this.show(s)
      over = true
      // The player may tell this from within its own constructor.
      queueMicrotask(() => this.rung === rung && this.down(s))
    })
  }

  private down(s: Showing): void {
    const rung = this.rung
    this.player?.stop()
    this.player = undefined
    this.left.push(s.mode === 'unplayable' ? { ...rung, why: 'unplayable', codec: s.codec } : { ...rung, why: 'unreachable' })
    // A way that is closed is closed for both profiles.
    let to = this.at + 1
    while (s.mode === 'unreachable' && this.list[to]!.way === rung.way) to++
    this.climb(this.next(to))
  }

  private retry(): void {
    for (let i = this.left.length - 1; i >= 0; i--) if (this.left[i]!.why === 'unreachable') this.left.splice(i, 1)
    this.climb(this.next(0))
  }

  // The first rung from here on that is not known to fail.
  private next(to: number): number {
    while (this.left.some((l) => l.way === this.list[to]!.way && l.profile === this.list[to]!.profile)) to++
    return to
  }

  private show(showing: Showing): void {
    this.tell({ rung: this.rung, showing, left: [...this.left] })
  }
}

/** Makes the players of a browser for a video element. The codec is that of the camera's main stream, as far as it is known. */
export function inBrowser(video: HTMLVideoElement, base: string, codec: () => string | undefined): Make {
  const socket = (location.protocol === 'https:' ? 'wss://' : 'ws://') + location.host + base
  return (rung, tell) => {
    switch (rung.way) {
      case 'webrtc':
        return new WebRTCPlayer(video, `${base}/whep?profile=${rung.profile}`, tell, rung.profile === 'main' ? codec() : undefined)
      case 'hls':
        return new HLSPlayer(video, `${base}/hls/index.m3u8?profile=${rung.profile}`, tell)
      default:
        return new SocketPlayer(video, `${socket}/live?profile=${rung.profile}`, tell)
    }
  }
}
