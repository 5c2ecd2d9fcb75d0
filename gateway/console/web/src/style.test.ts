import { expect, test } from 'vitest'
import css from './style.css?raw'

// WCAG 2.2, 1.4.3: text has at least 4.5 : 1 against its ground.
const themes = [...css.matchAll(/(:root[^{]*)\{([^}]*)\}/g)].map((m) => ({
  name: m[1]!.trim(),
  colours: Object.fromEntries([...m[2]!.matchAll(/--([a-z-]+): (#[0-9a-f]{6})/g)].map((c) => [c[1], c[2]])) as Record<string, string>,
}))

function luminance(hex: string): number {
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
  return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!
}

function contrast(a: string, b: string): number {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y)
  return (high! + 0.05) / (low! + 0.05)
}

const tones = ['grave', 'alarm', 'ok', 'mute', 'odd', 'accent']
const pairs = [
  ...['bg', 'panel', 'sunk'].flatMap((ground) => ['ink', 'muted', 'accent', 'grave', 'alarm'].map((text) => [text, ground])),
  ...tones.map((tone) => [tone, tone + '-soft']),
  ['accent-ink', 'accent'], ['panel', 'grave'], ['ink', 'alarm-soft'], ['muted', 'alarm-soft'],
]

test('three themes are defined', () => expect(themes.length).toBe(3))

test.each(themes.flatMap((t) => pairs.map(([text, ground]) => ({ theme: t.name, text: text!, ground: ground!, colours: t.colours }))))('$theme: $text on $ground', ({ text, ground, colours }) => {
  expect(contrast(colours[text]!, colours[ground]!)).toBeGreaterThanOrEqual(4.5)
})

test('edges of fields can be seen', () => {
  for (const t of themes) expect(contrast(t.colours.edge!, t.colours.panel!)).toBeGreaterThanOrEqual(3)
})
