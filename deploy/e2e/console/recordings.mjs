// A recording is played from where one taps, wound back, sped up and exported; then looked at on a phone.
import { run, shot, task } from './browser.mjs'

await run({ width: 1280, height: 900 }, [], async (page, report) => {
  await page.goto(task.url)
  await page.waitForSelector('[data-test=account]')
  const recorded = async () => {
    const day = { from: new Date(Date.now() - 3600_000).toISOString(), to: new Date().toISOString() }
    const answer = await page.request.get(task.base + '/api/v1/cameras/cam-1/recordings', { params: day })
    const stretch = (await answer.json()).stretches?.at(-1)
    return stretch ? { ...stretch, length: (Date.parse(stretch.to) - Date.parse(stretch.from)) / 1000 } : { length: 0 }
  }
  let stretch = await recorded()
  for (; stretch.length < 20; stretch = await recorded()) await page.waitForTimeout(1000)

  await page.goto(task.base + '/#/cameras/cam-1/recordings')
  const hour = page.locator('[data-test=hour] .bar, [data-test=hour][role=slider], [data-test=hour] [role=slider]').first()
  const day = page.locator('[data-test=day] [role=slider]')
  await day.waitFor()
  await page.waitForSelector('[data-test=day] .recorded')
  // Somewhere in the day: what comes next is played. Then exactly, in the hour.
  const where = async (bar, at, begin, length) => {
    const box = await bar.boundingBox()
    await bar.click({ position: { x: Math.max(1, Math.min(box.width - 2, ((at - begin) / length) * box.width)), y: 20 } })
  }
  const begin = Number(await day.getAttribute('aria-valuemin'))
  await where(day, Date.parse(stretch.from) - 300_000, begin, Number(await day.getAttribute('aria-valuemax')) - begin)
  const playing = () => page.evaluate(() => document.querySelector('video').currentTime)
  await page.waitForFunction(() => document.querySelector('video')?.currentTime > 0)
  report.playing = [await playing()]
  await page.waitForFunction((from) => document.querySelector('video')?.currentTime > from + 2.5, report.playing[0])
  report.playing.push(await playing())
  report.width = await page.evaluate(() => document.querySelector('video').videoWidth)
  report.when = await page.locator('[data-test=when]').textContent()
  await page.evaluate(() => document.querySelector('video').pause())
  await shot(page, 'recordings')
  await page.evaluate(() => { document.querySelector('video').currentTime = 12 })
  await page.waitForFunction(() => !document.querySelector('video')?.seeking && document.querySelector('video')?.currentTime >= 12)
  report.playing[1] = await playing()
  await page.click('text=后退 10 秒')
  await page.waitForFunction((from) => document.querySelector('video')?.currentTime < from - 5, report.playing[1])
  report.back = await playing()
  await page.click('text=4×')
  report.rate = await page.evaluate(() => document.querySelector('video').playbackRate)
  await hour.focus()
  report.events = await page.locator('a[href^="#/events/"]').allInnerTexts()

  await page.locator('[data-test=export] input').last().fill('执法检查')
  await page.locator('[data-test=export] input').nth(1).evaluate((e, to) => {
    e.value = to
    e.dispatchEvent(new Event('input'))
  }, new Date(Date.parse(stretch.from) + 8 * 3600_000 + 15_000).toISOString().slice(0, 19))
  await page.locator('[data-test=export] button').click()
  report.hash = (await page.locator('[data-test=part] code').first().textContent()).replace('SHA-256 ', '')
  const [file] = await Promise.all([page.waitForEvent('download'), page.locator('[data-test=part] a').click()])
  const stream = await file.createReadStream()
  report.downloaded = 0
  for await (const piece of stream) report.downloaded += piece.length

  await page.setViewportSize({ width: 360, height: 740 })
  report.wide = await page.evaluate(() => {
    const w = document.documentElement.clientWidth
    return [...document.querySelectorAll('main *, .page *')].filter((e) => e.getBoundingClientRect().right > w + 1).map((e) => e.className || e.tagName).slice(0, 5).join(' ')
  })
  await page.screenshot({ path: task.artefacts + '/console-recordings-360.png', fullPage: true })
  await page.click('[data-test=account]')
  await page.selectOption('[data-test=theme]', 'dark')
  await page.screenshot({ path: task.artefacts + '/console-recordings-360-dark.png', fullPage: true })
})
