const least = 50 // px that make a swipe

/** What follows a finger that swipes sideways: turn gets 1 for the next, -1 for the one before. */
export function swipe(turn: (by: 1 | -1) => void) {
  let from: { x: number; y: number } | undefined
  return {
    down(e: TouchEvent): void {
      from = e.touches.length === 1 ? { x: e.touches[0]!.clientX, y: e.touches[0]!.clientY } : undefined
    },
    up(e: TouchEvent): void {
      const to = e.changedTouches[0]
      if (!from || !to) return
      const [dx, dy] = [to.clientX - from.x, to.clientY - from.y]
      from = undefined
      if (Math.abs(dx) > least && Math.abs(dx) > 2 * Math.abs(dy)) turn(dx < 0 ? 1 : -1)
    },
  }
}
