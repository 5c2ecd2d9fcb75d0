// A wall rearranged by dragging, one whose alarms come first, and walls turned by a finger.
import { run, shot, task } from './browser.mjs'

const closed = [/WebSocket is closed before the connection is established/] // a picture that went out of sight while it was being opened

await run({ width: 1280, height: 720 }, closed, async (page, report) => {
  const shown = (on) => on.locator('.grid:not(.behind) > li .tile').evaluateAll((l) => l.map((e) => e.dataset.camera ?? ''))
  const pageOf = async (on) => (await on.locator('[data-test=wall-page]').textContent()).trim()
  await page.goto(task.url)
  await page.waitForSelector('[data-test=account]')
  await page.goto(task.base + '/#/wall')
  await page.waitForSelector('.tile video')

  // Places change by dragging, and a camera is dragged into an empty one.
  await page.click('[data-test=wall-new]')
  await page.fill('[data-test=wall-name]', '手工')
  await page.click('[data-layout-choice="4"]')
  report.before = await shown(page)
  await page.locator('[data-place="1"]').dragTo(page.locator('[data-place="2"]'))
  report.changed = await shown(page)
  await page.locator('[data-place="1"]').dragTo(page.locator('[data-place="4"]'))
  await page.locator('[data-pick=cam-1]').dragTo(page.locator('[data-place="3"]'))
  report.dragged = await shown(page)
  await shot(page, 'wall-dragged')
  await page.click('[data-test=wall-save]')
  await page.waitForSelector('[data-test=wall-edit]')
  await page.reload()
  await page.waitForSelector('.tile video')
  report.kept = await shown(page)

  // One picture a page. A camera in alarm comes to the front, whatever page is shown.
  await page.click('[data-test=wall-new]')
  await page.fill('[data-test=wall-name]', '报警优先')
  await page.click('[data-layout-choice="1"]')
  await page.locator('[data-pick=cam-1]').click()
  await page.getByRole('button', { name: '加一页' }).click()
  await page.waitForFunction(() => /第 2/.test(document.querySelector('[data-test=wall-page]')?.textContent))
  await page.locator('[data-pick=cam-2]').click()
  await page.getByText('报警画面自动排到最前').click()
  await page.click('[data-test=wall-save]')
  await page.waitForSelector('[data-test=wall-edit]')
  await page.waitForFunction(() => /第 1/.test(document.querySelector('[data-test=wall-page]')?.textContent))
  await page.locator('.grid:not(.behind) .tile[data-camera=cam-2][data-alarm]').waitFor({ timeout: 75_000 })
  report.front = [...(await shown(page)), await pageOf(page)]
  await shot(page, 'wall-alarm-first')
  await page.locator('.grid:not(.behind) .tile[data-camera=cam-1]').waitFor({ timeout: 75_000 })
  report.afterwards = [...(await shown(page)), await pageOf(page)]

  // A finger.
  const context = await page.context().browser().newContext({
    viewport: { width: 740, height: 360 }, hasTouch: true, isMobile: true, locale: 'zh-CN', storageState: await page.context().storageState(),
  })
  const phone = await context.newPage()
  const touch = await context.newCDPSession(phone)
  const swipe = async (from, to, y) => {
    await touch.send('Input.dispatchTouchEvent', { type: 'touchStart', touchPoints: [{ x: from, y }] })
    for (const at of [0.3, 0.6, 1]) await touch.send('Input.dispatchTouchEvent', { type: 'touchMove', touchPoints: [{ x: from + (to - from) * at, y }] })
    await touch.send('Input.dispatchTouchEvent', { type: 'touchEnd', touchPoints: [] })
  }
  await phone.goto(task.base + '/#/wall?name=' + encodeURIComponent('报警优先'))
  await phone.waitForSelector('.tile video')
  const turned = async (n) => {
    await phone.waitForFunction((n) => document.querySelector('[data-test=wall-page]')?.textContent.includes('第 ' + n), n)
    return pageOf(phone)
  }
  report.swiped = [await turned(1)]
  await swipe(600, 200, 250)
  report.swiped.push(await turned(2))
  await swipe(200, 600, 250)
  report.swiped.push(await turned(1))
  await swipe(400, 380, 250) // a touch that trembles turns nothing
  await phone.waitForTimeout(400)
  report.swiped.push(await pageOf(phone))

  // Upright, all pictures are one list; an enlarged one gives way to the next, and nothing lies over another thing.
  await phone.setViewportSize({ width: 360, height: 740 })
  await phone.goto(task.base + '/#/wall?all=')
  await phone.waitForSelector('.tile video')
  await phone.locator('[data-camera=cam-1] .enlarge').tap()
  const large = () => phone.locator('[data-test=enlarged] .tile').getAttribute('data-camera')
  await phone.waitForFunction(() => document.querySelector('[data-test=enlarged] video')?.currentTime > 0)
  report.enlarged = [await large()]
  report.covered = await phone.evaluate(() => {
    const box = (s) => document.querySelector('[data-test=enlarged] ' + s).getBoundingClientRect()
    const buttons = [...document.querySelectorAll('[data-test=enlarged] > .row > *')].map((e) => e.getBoundingClientRect())
    return buttons.filter((b) => b.bottom > box('.picture').top || b.height < 43.5).length
  })
  await shot(phone, 'wall-enlarged-360')
  await swipe(300, 60, 400)
  await phone.waitForFunction(() => document.querySelector('[data-test=enlarged] .tile')?.dataset.camera === 'cam-2')
  report.enlarged.push(await large())
  await swipe(60, 300, 400)
  await phone.waitForFunction(() => document.querySelector('[data-test=enlarged] .tile')?.dataset.camera === 'cam-1')
  report.enlarged.push(await large())
  await context.close()
})
