import type { Schemas } from '../api/client'

export type Timeline = Schemas['RecordingTimeline']

const longest = 10 * 60_000 // of what is asked for at once, ms: its index comes before the picture
const fetched = 60_000 // of what is fetched from a recorder at once: it is shown when it is there

/** One piece of a recording to play: from where, and up to where it plays without a gap. */
export interface Piece {
  from: number // Unix ms
  to: number
  source: Schemas['RecordingSource']
}

/**
 * The piece that holds a time, or the first one after it; nothing where there is no more. It is of one source: the
 * gateway's own, or where that has nothing the recorder's.
 */
export function pieceAt(timeline: Timeline, at: number): Piece | undefined {
  for (const s of timeline.stretches) {
    const end = Date.parse(s.to)
    if (end - at < 500) continue // what is left of it is no picture
    const from = Math.max(Date.parse(s.from), at)
    return { from, to: Math.min(end, from + (s.source === 'recorder' ? fetched : longest)), source: s.source }
  }
  return undefined
}

/** How far a clock is ahead, in seconds: of -1h2m3.5s. Nothing for what is no duration. */
export function seconds(duration: string): number | undefined {
  const m = /^(-?)(?:(\d+)h)?(?:(\d+)m)?(?:([\d.]+)s)?$/.exec(duration)
  if (!duration || !m) return /^-?[\d.]+ms$/.test(duration) ? parseFloat(duration) / 1000 : undefined
  return (m[1] ? -1 : 1) * (Number(m[2] ?? 0) * 3600 + Number(m[3] ?? 0) * 60 + Number(m[4] ?? 0))
}

/** A bar's part in percent, clipped to the bar; nothing where it lies outside. */
export function place(from: number, to: number, begin: number, length: number): { left: string; width: string } | undefined {
  const left = Math.max(0, (from - begin) / length)
  const right = Math.min(1, (to - begin) / length)
  return right > left ? { left: left * 100 + '%', width: (right - left) * 100 + '%' } : undefined
}

/** Bytes for people: 1.2 GB. */
export function size(bytes: number): string {
  const units = ['B', 'KB', 'MB', 'GB', 'TB']
  let i = 0
  while (bytes >= 1000 && i < units.length - 1) {
    bytes /= 1000
    i++
  }
  return (i && bytes < 100 ? bytes.toFixed(1) : Math.round(bytes)) + ' ' + units[i]
}

/** The address of a piece below /api/v1. */
export function clipPath(camera: string, p: Piece): string {
  const q = new URLSearchParams({ from: new Date(p.from).toISOString(), to: new Date(p.to).toISOString(), source: p.source })
  return `/cameras/${camera}/clip?${q}`
}
