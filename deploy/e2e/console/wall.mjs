// A wall of pictures watched for a while: which stand still, how many are dropped, whether the page grows.
import { run, shot, task } from './browser.mjs'

const still = 2000 // ms without progress that make a stall
const settle = Math.min(15, task.seconds / 4) // s before the page's size is first looked at

await run({ width: 1280, height: 720 }, [], async (page, report) => {
  await page.goto(task.url)
  await page.waitForSelector('[data-test=account]')
  await page.goto(task.url.split('/#')[0] + '/#/wall?all=')
  await page.waitForFunction((n) => [...document.querySelectorAll('.tile video')].filter((v) => v.currentTime > 0 && v.readyState >= 2).length === n, task.cameras)

  const cdp = await page.context().newCDPSession(page)
  await cdp.send('Performance.enable')
  const size = async () => {
    await cdp.send('HeapProfiler.collectGarbage')
    const { metrics } = await cdp.send('Performance.getMetrics')
    const of = (name) => metrics.find((m) => m.name === name).value
    return { heap: of('JSHeapUsedSize') / 2 ** 20, nodes: of('Nodes'), listeners: of('JSEventListeners') }
  }
  await page.waitForTimeout(settle * 1000)
  const before = await size()

  // Looked at inside the page, so that a busy driver does not seem a stall.
  const seen = await page.evaluate(({ still, ms }) => new Promise((done) => {
    const began = performance.now()
    const tiles = [...document.querySelectorAll('.tile')].filter((t) => t.querySelector('video'))
    const of = tiles.map((t) => ({ video: t.querySelector('video'), name: t.dataset.camera, at: -1, since: began, told: false }))
    const quality = () => of.map((o) => o.video.getVideoPlaybackQuality())
    const sum = (list, key) => list.reduce((n, q) => n + q[key], 0)
    const first = quality()
    const r = { stalls: 0, stalled: [], longestMS: 0, lagMS: 0 }
    const timer = setInterval(() => {
      const now = performance.now()
      for (const o of of) {
        const { currentTime, buffered } = o.video
        const { totalVideoFrames, droppedVideoFrames } = o.video.getVideoPlaybackQuality()
        const at = totalVideoFrames - droppedVideoFrames // the clock may go on without pictures, pictures not without the clock
        if (at !== o.at) Object.assign(o, { at, since: now, told: false })
        r.longestMS = Math.max(r.longestMS, now - o.since)
        if (buffered.length) r.lagMS = Math.max(r.lagMS, 1000 * (buffered.end(buffered.length - 1) - currentTime))
        if (now - o.since < still || o.told) continue
        o.told = true
        r.stalls++
        r.stalled.push(`${o.name} at ${Math.round((now - began) / 1000)} s`)
      }
      if (now - began < ms) return
      clearInterval(timer)
      const last = quality()
      done({
        ...r, playing: of.filter((o) => o.video.isConnected && o.video.readyState >= 2).length,
        frames: sum(last, 'totalVideoFrames') - sum(first, 'totalVideoFrames'), dropped: sum(last, 'droppedVideoFrames') - sum(first, 'droppedVideoFrames'),
      })
    }, 200)
  }), { still, ms: task.seconds * 1000 })

  const after = await size()
  Object.assign(report, seen, { heap: [before.heap, after.heap], nodes: [before.nodes, after.nodes], listeners: [before.listeners, after.listeners] })
  await shot(page, 'wall')
})
