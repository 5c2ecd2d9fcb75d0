/** One value of a curve; a value that is NaN says that there was none. */
export interface Sample {
  at: number // Unix ms
  value: number
}

/**
 * stretches cuts a curve where nothing was measured: at what was no value, and where the next one comes much later than
 * they mostly do. A line across would show values that nobody has seen.
 */
export function stretches(samples: Sample[]): Sample[][] {
  const steps = samples.slice(1).map((s, i) => s.at - samples[i]!.at).sort((a, b) => a - b)
  const usual = steps[Math.floor(steps.length / 2)] ?? 0
  const list: Sample[][] = [[]]
  let last: Sample | undefined
  for (const s of samples) {
    if (Number.isNaN(s.value) || (last && s.at - last.at > Math.max(5 * usual, 5000))) list.push([])
    if (!Number.isNaN(s.value)) list.at(-1)!.push((last = s))
  }
  return list.filter((l) => l.length)
}
