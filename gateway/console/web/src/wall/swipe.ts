const least = 50 // px that make a swipe

/**
 * What follows a finger that swipes sideways: turn gets 1 for the next, -1 for the
 * one before. Pointers and not touches: a touch ends unseen where the picture that
 * it began on has meanwhile given way to another.
 */
export function swipe(turn: (by: 1 | -1) => void) {
  let from: { x: number; y: number } | undefined
  return {
    down(e: PointerEvent): void {
      from = e.pointerType === 'touch' && e.isPrimary ? { x: e.clientX, y: e.clientY } : undefined
    },
    up(e: PointerEvent): void {
      if (!from || !e.isPrimary) return
      const [dx, dy] = [e.clientX - from.x, e.clientY - from.y]
      from = undefined
      if (Math.abs(dx) > least && Math.abs(dx) > 2 * Math.abs(dy)) turn(dx < 0 ? 1 : -1)
    },
  }
}
