// A camera behind a network that lets neither WebRTC nor WebSockets pass: HLS
// plays; where it ends too, stills say why. Then the picture's own button, which
// may cover nothing that the camera writes into its picture.
import { look, run, shot, task } from './browser.mjs'

await run({ width: 1280, height: 800 }, [/whep/, /\/hls\//, /WebSocket/], async (page, report) => {
  await page.goto(task.url)
  await page.waitForSelector('[data-test=account]')
  report.scripts = await page.evaluate(() => performance.getEntriesByType('resource').filter((r) => /hls/i.test(r.name)).map((r) => r.name))
  const context = page.context()

  const tab = await context.newPage()
  await tab.route('**/whep?*', (route) => route.abort())
  await tab.routeWebSocket(/\/live/, (socket) => socket.close())
  const asked = []
  tab.on('request', (r) => /\/hls\//.test(r.url()) && asked.push(r.url()))
  await tab.goto(task.base + '/#/cameras/cam-1')
  await tab.click('figure.live .quick')
  await tab.waitForSelector('figure.live[data-mode=live][data-way=hls]')
  await tab.waitForFunction(() => document.querySelector('video')?.currentTime > 0.5)
  report.first = await look(tab)
  await tab.waitForFunction((from) => document.querySelector('video')?.currentTime > from + 3, report.first.time)
  report.later = await look(tab)
  report.caption = await tab.locator('figcaption').textContent()
  report.left = await tab.locator('figure.live .left').textContent()
  report.opened = asked.filter((u) => /\/hls\/index\.m3u8/.test(u)).length
  report.parts = asked.filter((u) => /_HLS_part=/.test(u)).length
  await shot(tab, 'ladder-hls')

  await tab.route('**/hls/**', (route) => route.abort())
  await tab.waitForSelector('figure.live[data-way=stills]')
  const still = tab.locator('[data-test=still]')
  await still.waitFor()
  report.still = await still.evaluate((p) => p.decode().then(() => p.naturalWidth))
  report.why = await tab.locator('figcaption').textContent()
  await shot(tab, 'ladder-stills')
  await tab.close()

  report.covered = []
  for (const width of [360, 1280]) {
    for (const theme of ['light', 'dark']) {
      const narrow = await context.newPage()
      await narrow.setViewportSize({ width, height: 740 })
      await narrow.addInitScript((t) => localStorage.setItem('offsite.theme', t), theme)
      for (const path of ['cameras/cam-1', '', 'wall']) {
        await narrow.goto(`${task.base}/#/${path}`)
        if (path === 'wall') await narrow.locator('[data-camera=cam-1]').dblclick()
        const figure = narrow.locator(path === 'wall' ? '[data-test=enlarged] figure.live' : 'figure.live').first()
        await figure.locator('video').waitFor()
        const [picture, button] = [await figure.locator('video').boundingBox(), await figure.locator('.quick').boundingBox()]
        const apart = button.y >= picture.y + picture.height && button.height >= 43.5
        if (!apart) report.covered.push(`${path} ${width} ${theme}: ${JSON.stringify({ picture, button })}`)
        await shot(narrow, `ladder-${path.slice(0, 4) || 'front'}-${width}-${theme}`)
      }
      await narrow.close()
    }
  }
})
