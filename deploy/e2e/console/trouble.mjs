// What goes wrong under a page that is watched: a page's file that does not come, an address changed early, a line that is cut in full screen.
import { run, shot, task } from './browser.mjs'

const expected = [/Failed to load resource/, /Failed to fetch dynamically imported module/, /error loading dynamically imported module/i, /WebSocket/]

/** Whether something else lies over the middle of it. */
const covered = (locator) => locator.evaluate((e) => {
  const r = e.getBoundingClientRect()
  return !e.contains(document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2))
})

await run({ width: 1280, height: 720 }, expected, async (page, report) => {
  report.phone = []
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

  // Another has a phone in the hand, with one picture enlarged in full screen.
  const pocket = await page.context().browser().newContext({ viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true, locale: 'zh-CN', storageState: await page.context().storageState() })
  pocket.setDefaultTimeout(30_000)
  const phone = await pocket.newPage()
  await phone.goto(base + '/#/wall')
  await phone.locator('[data-test=wall-kiosk]').tap()
  report.fullScreen = await phone.waitForFunction(() => !!document.fullscreenElement).then((h) => h.jsonValue())
  await phone.locator('[data-camera=cam-1] .enlarge').tap()
  await phone.waitForFunction(() => document.querySelector('[data-test=enlarged] video')?.currentTime > 0)

  process.kill(task.process, 'SIGSTOP')
  try {
    await page.waitForFunction(() => document.querySelectorAll('[data-test=stopped]').length === 2)
    report.stopped = await page.locator('[data-test=stopped]').first().innerText()
    report.live = await page.locator('.tile figcaption').count()
    const strip = page.locator('.wall [data-test=link-lost]')
    await strip.waitFor({ timeout: 30_000 })
    report.lost = await strip.innerText()
    report.covered = await covered(strip)
    for (const what of ['link-lost', 'stopped']) {
      const told = phone.locator(`[data-test=enlarged] [data-test=${what}]`)
      await told.waitFor()
      report.phone.push(`${await told.innerText()}${(await covered(told)) ? ' (covered)' : ''}`)
    }
    await shot(phone, 'trouble-phone')
    const before = await page.evaluate(() => window.beeps)
    await page.waitForFunction((b) => window.beeps > b, before)
    await shot(page, 'trouble-wall')
  } finally {
    process.kill(task.process, 'SIGCONT')
  }
  await page.waitForFunction(() => !document.querySelector('[data-test=stopped]') && !document.querySelector('[data-test=link-lost]') && document.querySelectorAll('.tile figcaption').length === 2)
})
