/** What a label says: the device, and the address under which its gateway is opened; no address where only the id is given. */
export interface Label {
  device: string
  base: string
}

/** Reads what stands in a label's QR code, or the id that somebody types; undefined where it is neither. */
export function readLabel(text: string): Label | undefined {
  const s = text.trim()
  if (/^[a-z0-9-]{1,64}$/.test(s)) return { device: s, base: '' }
  const m = /^(https?:\/\/[^/?#\s]+)\/?#\/devices\/([a-z0-9-]{1,64})$/.exec(s)
  return m ? { device: m[2]!, base: m[1]! } : undefined
}
