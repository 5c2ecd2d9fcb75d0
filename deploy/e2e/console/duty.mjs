// Somebody on duty at the wall: makes one, lets it tour, is called by an alarm, mutes it, looks closer, and finds the wall at another desk.
import { run, shot, task } from './browser.mjs'

const closed = [/WebSocket is closed before the connection is established/] // a picture that went out of sight while it was being opened

await run({ width: 1280, height: 720 }, closed, async (page, report) => {
  const opened = []
  page.on('websocket', (s) => opened.push(s.url().replace(/^.*cameras\//, '')))
  await page.addInitScript(() => {
    window.beeps = 0
    const make = AudioContext.prototype.createOscillator
    AudioContext.prototype.createOscillator = function () {
      window.beeps++
      return make.call(this)
    }
  })
  const base = task.url.split('/#')[0]
  const playing = (n) => page.waitForFunction((n) => [...document.querySelectorAll('.grid:not(.behind) video')].filter((v) => v.readyState >= 2 && v.currentTime > 0).length === n, n)
  await page.goto(task.url)
  await page.waitForSelector('[data-test=account]')
  await page.goto(base + '/#/wall')
  await playing(2)

  // An alarm: frame, icon, word and sound, on whatever page.
  await page.locator('.tile').last().click() // lets the page be heard
  const tile = page.locator('.tile[data-alarm=new]').first()
  await tile.waitFor({ timeout: 75_000 }) // the demo's alarms come once a minute
  report.label = await tile.getAttribute('aria-label')
  report.frame = await tile.evaluate((e) => getComputedStyle(e, '::after').boxShadow)
  report.badge = await tile.locator('a.alarm').textContent()
  await page.waitForFunction(() => window.beeps >= 4)
  await shot(page, 'wall')
  await page.keyboard.press('m')
  report.muted = await page.locator('[data-test=wall-mute]').textContent()
  const before = await page.evaluate(() => window.beeps)
  await page.waitForTimeout(4500)
  report.whileMuted = await page.evaluate((b) => window.beeps - b, before)
  await page.keyboard.press('m')
  await page.waitForFunction((b) => window.beeps > b, before)
  await tile.locator('a.alarm').click()
  await page.waitForSelector('[data-test=acknowledge]')
  report.event = page.url().split('#')[1]
  await page.goto(base + '/#/wall')

  // Closer, in the main stream and alone, and back.
  await playing(2)
  opened.length = 0
  await page.keyboard.press('2')
  await page.keyboard.press('Enter')
  await page.waitForFunction(() => document.querySelector('.enlarged video')?.readyState >= 2)
  report.enlarged = { opened: [...opened], videos: await page.locator('video').count() }
  await page.keyboard.press('Escape')
  await playing(2)
  report.chosen = await page.evaluate(() => document.activeElement.getAttribute('aria-label'))

  // Nobody sees a hidden page: it streams nothing.
  await page.evaluate(() => {
    Object.defineProperty(document, 'hidden', { value: true, configurable: true })
    document.dispatchEvent(new Event('visibilitychange'))
  })
  await page.waitForFunction(() => document.querySelectorAll('video').length === 0)
  await page.evaluate(() => {
    delete document.hidden
    document.dispatchEvent(new Event('visibilitychange'))
  })
  await playing(2)

  // Two pages of one picture each, turned every five seconds.
  await page.click('[data-test=wall-new]')
  await page.fill('[data-test=wall-name]', '值班')
  await page.click('[data-layout-choice="1"]')
  await page.getByRole('button', { name: '加一页' }).click()
  await page.waitForFunction(() => /第 2/.test(document.querySelector('[data-test=wall-page]')?.textContent))
  await page.locator('[data-pick=cam-2]').focus()
  await page.keyboard.press('Enter')
  await page.selectOption('.editor select', '5s')
  await page.click('[data-test=wall-save]')
  await page.waitForSelector('[data-test=wall-edit]')
  report.address = decodeURIComponent(page.url().split('#')[1])

  // While alarms are acknowledged at once nothing holds the tour but a look at it.
  await page.evaluate(() => {
    const acknowledge = async () => {
      const { items } = await (await fetch('/api/v1/events?max=50')).json()
      for (const e of items.filter((e) => e.state === 'unacknowledged')) {
        await fetch(`/api/v1/events/${e.id}:acknowledge`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"note":""}' })
      }
      setTimeout(acknowledge, 300) // one at a time: what is acknowledged twice is refused
    }
    void acknowledge()
  })
  await page.evaluate(() => document.activeElement.blur())
  await page.keyboard.press('Space') // stops
  await page.keyboard.press('Space') // goes on, and forgets that somebody looked
  report.tour = await page.evaluate(() => new Promise((done) => {
    const r = { pages: [], grey: 0 }
    const showed = new WeakSet() // a picture that jumps to the end of its stream keeps the one it showed
    const began = performance.now()
    const timer = setInterval(() => {
      const shown = document.querySelector('[data-test=wall-page]').textContent.trim()
      if (r.pages.at(-1) !== shown) r.pages.push(shown)
      const video = document.querySelector('.grid:not(.behind) video')
      if (video?.readyState >= 2) showed.add(video)
      else if (!video?.readyState || !showed.has(video)) r.grey++
      if (performance.now() - began < 17_000) return
      clearInterval(timer)
      done(r)
    }, 40)
  }))

  // The same person at another desk, on a phone.
  const desk = await page.context().browser().newContext({ viewport: { width: 360, height: 640 }, locale: 'zh-CN', storageState: await page.context().storageState() })
  const phone = await desk.newPage()
  await phone.goto(base + '/#/wall')
  await phone.waitForFunction(() => document.querySelector('.grid video')?.currentTime > 0)
  report.elsewhere = await phone.locator('[data-test=wall-choice]').inputValue()
  report.wide = await phone.evaluate(() => document.documentElement.scrollWidth)
  await shot(phone, 'wall-phone')
  await desk.close()
})
