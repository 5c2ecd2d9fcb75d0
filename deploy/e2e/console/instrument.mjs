// A field engineer at a cabinet, 360 pixels wide and 400 ms from the gateway:
// from the search of a template to a live value, with a test on the way; then what
// a label opens: maintenance, a swap that the network breaks, and tables.
import { run, shot, task } from './browser.mjs'
import { firstSignIn, hand, slowLine } from './phone.mjs'

// Nobody is signed in at first; whoever leaves the front page leaves its picture;
// a wrong form is meant to be refused, and what was sent without an answer is
// looked for.
const expected = [/status of 401/, /closed before the connection is established/, /ERR_FAILED.*\/api\/v1\/bindings/, /status of 400.*(templates|devices:probe)/, /status of 404.*\/api\/v1\/bindings\//]

await run({ width: 360, height: 740 }, expected, async (page, report) => {
  await slowLine(page)
  await firstSignIn(page)

  const { tap, type, choose, fitsHand } = hand(page, report)

  const began = Date.now()
  await tap('nav a[href="#/register"]')
  await tap('[data-test=instruments]')
  await page.waitForSelector('[data-template]')
  await fitsHand('search')
  await shot(page, 'instruments')
  await type('[data-test=search]', '雷达 液位')
  report.found = await page.locator('[data-template]').evaluateAll((l) => l.map((e) => e.dataset.template))
  await tap('[data-template=tank-radar-level]')
  await type('[data-field="parameters.address"] input', task.instrument)
  await choose('[data-field=outlet] select', '+')
  await type('[data-field=outletName] input', '102 号储罐')
  await choose('[data-field=site] select', 'binjiang-tank-farm')
  await fitsHand('instrument')
  await shot(page, 'instrument-form')
  await tap('[data-test=probe-now]')
  await page.waitForSelector('[data-test=probe]')
  report.steps = await page.locator('[data-step]').evaluateAll((l) => l.map((e) => `${e.dataset.step} ${e.className}`))
  report.probed = await page.locator('[data-test=probed-value]').first().textContent()
  await fitsHand('probe')
  await shot(page, 'instrument-probe')
  await tap('[data-test=save]')
  await page.waitForSelector('[data-test=last-value]')
  report.lastValue = await page.locator('[data-test=last-value]').first().textContent()
  report.seconds = (Date.now() - began) / 1000
  await fitsHand('instrument saved')
  await shot(page, 'instrument-live')

  // From the label of a device to its values, as a phone's camera opens it.
  const scanned = Date.now()
  await page.goto('about:blank')
  await page.goto(task.base + '/#/devices/tank-plc-1')
  const value = page.locator('[data-point="tank-101.level"] [data-test=value]')
  await page.waitForFunction((v) => /\d/.test(v.textContent), await value.elementHandle())
  report.labelSeconds = (Date.now() - scanned) / 1000
  await page.locator('img.label').scrollIntoViewIfNeeded()
  await page.waitForFunction(() => document.querySelector('img.label')?.naturalWidth > 0)
  await page.evaluate(() => scrollTo(0, 0))
  await page.waitForSelector('[data-test=health]')
  await fitsHand('device')
  await page.screenshot({ path: task.artefacts + '/console-device.png', fullPage: true })
  await page.locator('[data-test=maintain]').tap()
  await page.fill('[data-field=reason] input, input[data-field=reason]', '校准雷达')
  await fitsHand('maintenance')
  await page.locator('[data-test=maintain-save]').tap()
  await page.waitForSelector('[data-test=maintain-end]')
  await shot(page, 'maintenance')
  report.maintained = await page.locator('[data-test=device] .message.info').first().textContent()
  await page.locator('[data-test=maintain-end]').tap()
  await page.waitForSelector('[data-test=maintain-end]', { state: 'detached' })

  // Another instrument in its place: the points go on.
  await page.goto(task.base + '/#/devices/tank-plc-1')
  await page.locator('[data-test=to-swap]').tap()
  await page.waitForSelector('[data-test=swap]')
  await page.locator('[data-test=probe-now]').tap()
  await page.waitForSelector('[data-step=values]')
  await fitsHand('swap')
  await shot(page, 'swap')
  // The network goes away in the middle: what was typed stays, and once more is enough.
  await page.route('**/api/v1/bindings', (r) => r.abort())
  await page.locator('[data-test=swap]').tap()
  report.broken = (await page.locator('main .message.grave').textContent()).trim()
  await page.unroute('**/api/v1/bindings')
  await page.locator('[data-test=swap]').tap()
  await page.waitForURL(/devices\/tank-plc-1-2/)
  report.swapped = await page.locator('[data-point]').evaluateAll((l) => l.map((e) => e.dataset.point).sort())

  // A table with faults: each at its line and column, nothing is stored; mended it goes in.
  await page.goto(task.base + '/#/tables')
  await page.selectOption('[data-test=table-kind]', 'outlets')
  const file = (text) => page.setInputFiles('[data-test=file]', { name: 'outlets.csv', mimeType: 'text/csv', buffer: Buffer.from(text) })
  await file('id,site,name,kind\nyard-1,binjiang-tank-farm,1 号堆场,dust\nYard 2,nowhere,2 号堆场,dust\n')
  await page.locator('[data-test=trial]').tap()
  await page.waitForSelector('[data-test=table-fault]')
  report.tableFaults = await page.locator('[data-test=table-fault]').allTextContents()
  await fitsHand('tables')
  await page.locator('[data-test=table-fault]').last().scrollIntoViewIfNeeded()
  await shot(page, 'tables')
  await file('id,site,name,kind\nyard-1,binjiang-tank-farm,1 号堆场,dust\nyard-2,binjiang-tank-farm,2 号堆场,dust\n')
  await page.locator('[data-test=trial]').tap()
  await page.locator('[data-test=import]').tap()
  await page.waitForSelector('[data-test=table-result] .message.ok')
  report.stored = await page.locator('[data-test=table-result] .message.ok').textContent()

  await page.goto(task.base + '/#/trust')
  await page.waitForSelector('[data-test=no-certificate]') // the demo speaks plain HTTP on loopback
  await fitsHand('trust')
})
