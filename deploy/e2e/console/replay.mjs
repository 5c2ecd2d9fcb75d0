// What a recorder has kept is seen beside our own, played from where one taps, and looked at on a phone.
import { look, run, shot, task } from './browser.mjs'

await run({ width: 1280, height: 900 }, [], async (page, report) => {
  await page.goto(task.url)
  await page.waitForSelector('[data-test=account]')
  await page.goto(task.base + '/#/cameras/nvr-1/recordings')
  await page.locator('[data-test=day] [role=slider]').waitFor()
  await page.click('[aria-label=前一天]')
  await page.waitForSelector('[data-test=day] .held')
  report.told = await page.locator('.legend').textContent()
  const day = page.locator('[data-test=day] [role=slider]')
  const [bar, held] = [await day.boundingBox(), await page.locator('[data-test=day] .held').boundingBox()]
  report.colours = await page.evaluate(() => [...document.querySelectorAll('.legend .key')].map((e) => getComputedStyle(e).backgroundColor))
  await day.click({ position: { x: held.x - bar.x + held.width / 2, y: 20 } })
  await page.waitForFunction(() => document.querySelector('video')?.currentTime > 1)
  report.when = await page.locator('[data-test=when]').textContent()
  report.seen = [await look(page)]
  await page.waitForFunction((from) => document.querySelector('video')?.currentTime > from + 1, report.seen[0].time)
  report.seen.push(await look(page))
  await shot(page, 'replay')
  const fields = page.locator('[data-test=export] input')
  await fields.nth(1).evaluate((to, from) => {
    to.value = new Date(Date.parse(from + 'Z') + 20_000).toISOString().slice(0, 19)
    to.dispatchEvent(new Event('input'))
  }, await fields.nth(0).inputValue())
  await fields.last().fill('执法检查')
  await page.locator('[data-test=export] button').click()
  report.part = await page.locator('[data-test=part]').textContent()
  await page.setViewportSize({ width: 360, height: 740 })
  report.wide = await page.evaluate(() => {
    const w = document.documentElement.clientWidth
    return [...document.querySelectorAll('.page *')].filter((e) => e.getBoundingClientRect().right > w + 1).map((e) => e.className || e.tagName).slice(0, 5).join(' ')
  })
  await page.screenshot({ path: task.artefacts + '/console-replay-360.png', fullPage: true })
  await page.click('[data-test=account]')
  await page.selectOption('[data-test=theme]', 'dark')
  await page.screenshot({ path: task.artefacts + '/console-replay-360-dark.png', fullPage: true })
})
