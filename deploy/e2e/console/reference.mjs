// What a camera ought to show is set on its page; then a hand covers the lens and takes itself away.
import { run, shot, task } from './browser.mjs'
import { firstSignIn } from './phone.mjs'

await run({ width: 360, height: 740 }, [/status of 401/, /closed before the connection is established/], async (page, report) => {
  await firstSignIn(page)
  const reference = page.locator('[data-test=reference]')
  const open = async () => {
    await page.goto(task.base + '/#/cameras/yard')
    await page.reload()
    await reference.locator('summary').tap()
  }
  await open()
  await page.waitForFunction(() => document.querySelector('video')?.currentTime > 0)
  await page.tap('[data-test=set-reference]')
  report.asks = await page.locator('dialog p').textContent()
  await page.tap('[data-test=confirm]')
  await page.waitForSelector('dialog', { state: 'detached' })
  const caption = reference.locator('figcaption', { hasText: task.person })
  await caption.waitFor()
  report.set = await caption.textContent()
  await open()
  await caption.waitFor()
  report.kept = await caption.textContent()
  report.reference = await reference.locator('figure', { hasText: task.person }).locator('img').evaluate((p) => p.decode().then(() => p.naturalWidth))
  await reference.scrollIntoViewIfNeeded()
  await shot(page, 'reference-360')

  await fetch(task.hand + '/cover')
  await page.goto(task.base + '/#/events?camera=yard&what=camera_covered')
  const line = page.locator('[data-event]')
  await line.first().waitFor({ timeout: 60_000 })
  await line.first().tap()
  await page.waitForSelector('[data-test=acknowledge]')
  report.title = await page.locator('h1').textContent()
  report.open = await page.locator('main').textContent()
  const picture = page.locator('[data-test=evidence]').first()
  await picture.waitFor({ timeout: 60_000 })
  report.evidence = await picture.evaluate((p) => p.decode().then(() => p.naturalWidth))
  await shot(page, 'covered-360')

  await fetch(task.hand + '/uncover')
  await page.waitForFunction(() => /画面已恢复/.test(document.querySelector('main')?.textContent), undefined, { timeout: 60_000 })
  report.ended = await page.locator('dl').allTextContents().then((l) => l.join(' '))
})
