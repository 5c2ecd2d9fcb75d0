// What goes wrong under a page that is watched: a page's file that does not come, an address changed early, a line that is cut in full screen.
import { run, shot, task } from './browser.mjs'

const expected = [/Failed to load resource/, /Failed to fetch dynamically imported module/, /error loading dynamically imported module/i, /WebSocket/]

await run({ width: 1280, height: 720 }, expected, async (page, report) => {
  const base = task.url.split('/#')[0]
  await page.addInitScript(() => {
    window.beeps = 0
    const make = AudioContext.prototype.createOscillator
    AudioContext.prototype.createOscillator = function () {
      window.beeps++
      return make.call(this)
    }
  })
  await page.goto(task.url)
  await page.waitForSelector('[data-test=account]')

  // The file of a page is refused: it says so, and comes when asked again.
  await page.route(/assets\/Wall.*\.js/, (r) => r.abort())
  await page.click('a[href="#/wall"]')
  report.failed = await page.locator('[data-test=page-failed]').innerText()
  await shot(page, 'trouble-page')
  await page.unroute(/assets\/Wall.*\.js/)
  await page.click('[data-test=page-failed] button')
  await page.waitForSelector('.grid')
  report.opened = page.url().split('#')[1]

  // The address is changed while the first page is still to come.
  let release
  await page.route(/assets\/Platform.*\.js/, (r) => new Promise((go) => (release = go)).then(() => r.continue()))
  await page.goto('about:blank')
  await page.goto(base + '/#/platform', { waitUntil: 'commit' })
  await page.waitForSelector('[data-test=account]')
  await page.evaluate(() => (location.hash = '#/cameras/cam-1'))
  await page.waitForSelector('figure.live')
  release?.()
  report.early = page.url().split('#')[1]

  // A session that nears its end tells the wall; it is learnt of anew by each wall that is opened.
  await page.route('**/api/v1/me', async (r) => {
    const answer = await r.fetch()
    await r.fulfill({ response: answer, json: { ...await answer.json(), expires_at: new Date(Date.now() + 25 * 60_000).toISOString() } })
  })
  await page.goto(base + '/#/wall')
  report.ending = await page.locator('[data-test=wall-ending]').innerText()
  await page.unroute('**/api/v1/me')
  await page.goto(base + '/#/')

  // Somebody watches in full screen, tries the sound, and the gateway falls silent.
  await page.goto(base + '/#/wall')
  await page.click('[data-test=wall-try]')
  report.tried = await page.locator('[data-test=wall-tried]').innerText()
  report.beeps = await page.evaluate(() => window.beeps)
  await page.waitForFunction(() => [...document.querySelectorAll('.grid video')].filter((v) => v.readyState >= 2 && v.currentTime > 0).length === 2)
  await page.click('[data-test=wall-kiosk]')
  process.kill(task.process, 'SIGSTOP')
  try {
    await page.waitForFunction(() => document.querySelectorAll('[data-test=stopped]').length === 2)
    report.stopped = await page.locator('[data-test=stopped]').first().innerText()
    report.live = await page.locator('.tile figcaption').count()
    const strip = page.locator('.wall [data-test=link-lost]')
    await strip.waitFor({ timeout: 30_000 })
    report.lost = await strip.innerText()
    report.covered = await strip.evaluate((e) => {
      const r = e.getBoundingClientRect()
      return !e.contains(document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2))
    })
    const before = await page.evaluate(() => window.beeps)
    await page.waitForFunction((b) => window.beeps > b, before)
    await shot(page, 'trouble-wall')
  } finally {
    process.kill(task.process, 'SIGCONT')
  }
  await page.waitForFunction(() => !document.querySelector('[data-test=stopped]') && !document.querySelector('[data-test=link-lost]') && document.querySelectorAll('.tile figcaption').length === 2)
})
