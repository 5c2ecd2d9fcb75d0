/**
 * Freshness tells since when what is shown stands still, from a mark that changes with every picture. A line that is
 * cut says nothing, and a decoder may stop: no way of playing notices at once, so what is seen is asked.
 */
export class Freshness {
  private mark: unknown
  private changed = 0

  /** Notes what is shown now, at Unix ms; gives when it last changed. */
  look(mark: unknown, now: number): number {
    if (mark !== this.mark || !this.changed) this.changed = now
    this.mark = mark
    return this.changed
  }
}

/** What changes with every picture of a video; dropped ones count, those have come. */
export const pictureOf = (video: HTMLVideoElement): number => video.getVideoPlaybackQuality?.().totalVideoFrames ?? video.currentTime
