// Another site's page plays a camera by hls.js, with the address that a ticket makes.
import { join } from 'node:path'
import { look, run, shot, task } from './browser.mjs'

await run({ width: 1280, height: 800 }, [], async (page, report) => {
  const asked = []
  page.on('request', (r) => asked.push(r.url()))
  await page.setContent('<video muted autoplay width=640></video>')
  await page.addScriptTag({ path: join(task.modules, 'node_modules/hls.js/dist/hls.light.min.js') })
  await page.evaluate((url) => {
    const hls = new Hls({ lowLatencyMode: true })
    hls.on(Hls.Events.ERROR, (_, e) => e.fatal && console.error(`hls.js: ${e.details}`))
    hls.loadSource(url)
    hls.attachMedia(document.querySelector('video'))
  }, task.url)
  await page.waitForFunction(() => document.querySelector('video')?.currentTime > 0.5)
  report.first = await look(page)
  await page.waitForFunction((from) => document.querySelector('video')?.currentTime > from + 3, report.first.time)
  report.later = await look(page)
  report.playlists = asked.filter((u) => /_HLS_msn=/.test(u)).length
  report.parts = asked.filter((u) => /\/hls\/.*\.(mp4|m4s)/.test(u)).length
  report.elsewhere = asked.filter((u) => /ticket=/.test(u)).length - 1
  await shot(page, 'hls-ticket')
})
