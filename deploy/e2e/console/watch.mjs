// What staff see all day: live values, a picture that plays, an alarm with its picture.
import { run, shot, task } from './browser.mjs'

await run({ width: 1280, height: 800 }, [], async (page, report) => {
  await page.goto(task.url)
  await page.waitForSelector('[data-test=account]')
  report.address = page.url()

  const value = page.locator('[data-point="tank-101.pressure"] [data-test=value]')
  await page.waitForFunction((v) => /\d/.test(v.textContent), await value.elementHandle())
  report.firstValue = await value.textContent()
  await page.waitForFunction(([v, old]) => v.textContent !== old, [await value.elementHandle(), report.firstValue])
  report.laterValue = await value.textContent()

  await page.waitForFunction(() => document.querySelector('video')?.currentTime > 0)
  const playing = () => page.evaluate(() => {
    const v = document.querySelector('video')
    return { time: v.currentTime, width: v.videoWidth, frames: v.getVideoPlaybackQuality().totalVideoFrames }
  })
  report.playing = [await playing()]
  await page.waitForFunction((from) => document.querySelector('video')?.currentTime > from + 3, report.playing[0].time)
  report.playing.push(await playing())
  await page.waitForSelector('[data-point] .tag.alarm, [data-point] .tag.grave, [data-event]')
  await shot(page, 'overview')

  await page.goto(task.base + '/#/events')
  await page.locator('[data-event]').first().click()
  const picture = page.locator('[data-test=evidence][alt^=报警时刻]')
  await picture.waitFor()
  await page.waitForFunction((p) => p.complete && p.naturalWidth > 0, await picture.elementHandle())
  report.picture = await picture.evaluate((p) => ({ width: p.naturalWidth, shown: p.getBoundingClientRect().width }))
  report.hash = await page.locator('figure, li', { has: picture }).locator('dd code').first().textContent()
  await page.fill('#note', '已电话通知现场，正在洒水')
  await page.click('[data-test=acknowledge]')
  report.note = await page.locator('[data-test=note]').textContent()
  await shot(page, 'event')

  // Where the browser cannot play what the camera sends, stills take its place.
  const poor = await page.context().newPage()
  await poor.addInitScript(() => { MediaSource.isTypeSupported = () => false })
  await poor.goto(task.base + '/#/cameras/cam-1')
  const still = poor.locator('[data-test=still]')
  await still.waitFor()
  await poor.waitForFunction((p) => p.complete && p.naturalWidth > 0, await still.elementHandle())
  report.instead = { width: await still.evaluate((p) => p.naturalWidth), why: await poor.locator('figcaption').textContent() }
  await poor.close()

  await page.click('[data-test=account]')
  await page.selectOption('[data-test=language]', 'en')
  await page.selectOption('[data-test=theme]', 'dark')
  report.language = await page.evaluate(() => document.documentElement.lang)
  await page.goto(task.base + '/#/')
  await page.locator('h1', { hasText: /[a-z]/ }).waitFor() // its words come in a file of their own
  report.english = await page.locator('h1').textContent()
  await page.waitForSelector('[data-point]')
  await shot(page, 'overview-dark-en')
})
