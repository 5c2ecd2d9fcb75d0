// A field engineer finds what speaks at a site, 360 pixels wide and 400 ms from
// the gateway: topics of a broker to a live value, further topics of a device,
// factors of a data logger and a logger that nobody has registered, and units of a
// bus to a template's form.
import { run, shot, task } from './browser.mjs'
import { firstSignIn, hand, slowLine } from './phone.mjs'

// Nobody is signed in at first; what was sent and not answered is looked for.
const expected = [/status of 401/, /closed before the connection is established/, /ERR_FAILED.*devices:adopt/, /status of 404.*\/points\//]

await run({ width: 360, height: 740 }, expected, async (page, report) => {
  await slowLine(page)
  await firstSignIn(page)

  const { tap, type, fitsHand } = hand(page, report)

  const began = Date.now()
  await tap('nav a[href="#/register"]')
  await tap('[data-test=discover]')
  await page.waitForSelector('[data-where=mqtt]')
  await fitsHand('choice')
  await shot(page, 'discover')
  await tap('[data-where=mqtt]')
  await type('[data-field=address] input, input[data-field=address]', task.broker)
  await tap('[data-test=listen]')
  await page.waitForSelector('[data-source]')
  report.sources = await page.locator('[data-source]').evaluateAll((l) => l.map((e) => e.dataset.source))
  await fitsHand('heard')
  await shot(page, 'discover-heard')
  await tap('[data-source="Hall climate"] [data-offer=Temperature]')
  await tap('[data-source="zigbee2mqtt/yard"] [data-offer=humidity]')
  await page.locator('[data-field=outlet]').selectOption('+')
  report.taps += 2
  await type('[data-field=outletName] input, input[data-field=outletName]', '大厅')
  await fitsHand('adopt')
  await page.screenshot({ path: task.artefacts + '/console-discover-adopt.png', fullPage: true })
  // The network goes away as it is sent, and the page is opened anew: what was ticked is still there.
  await page.route('**/api/v1/devices:adopt', (r) => r.abort())
  await page.locator('[data-test=save]').tap()
  report.broken = (await page.locator('main .message.grave').first().textContent()).trim()
  await page.unroute('**/api/v1/devices:adopt')
  await page.reload()
  await page.waitForSelector('[data-pick]')
  report.kept = await page.locator('[data-pick]').evaluateAll((l) => l.map((e) => e.dataset.pick))
  await tap('[data-test=save]')
  await page.waitForSelector('[data-test=last-value]')
  await page.waitForFunction(() => document.querySelectorAll('[data-test=last-value]').length === 2)
  report.values = await page.locator('[data-test=last-value]').allTextContents()
  report.seconds = (Date.now() - began) / 1000
  await fitsHand('live')
  await shot(page, 'discover-live')

  // From the device's own page: what else it says.
  await page.locator('main a.button.primary').tap()
  await page.locator('[data-test=to-heard]').tap()
  await page.locator('[data-test=listen]').tap()
  await page.locator('[data-source="zigbee2mqtt/yard"] [data-offer=temperature]').tap()
  await page.locator('[data-test=save]').tap()
  await page.waitForSelector('[data-test=last-value]')
  report.further = await page.locator('[data-last]').evaluateAll((l) => l.map((e) => e.dataset.last))

  // What data loggers send is there at once; one that is not registered leads to its form.
  await page.goto(task.base + '/#/discover')
  await page.locator('[data-where=hj212]').tap()
  await page.waitForSelector('[data-source="STRANGER-7"] [data-test=register-logger]')
  await page.locator('[data-offer=w01018-Rtd]').tap()
  await page.locator('[data-field=outlet]').selectOption('outfall-1')
  await fitsHand('loggers')
  await page.screenshot({ path: task.artefacts + '/console-discover-loggers.png', fullPage: true })
  await page.locator('[data-test=save]').tap()
  await page.waitForSelector('[data-test=last-value]')
  report.logger = await page.locator('[data-last]').evaluateAll((l) => l.map((e) => e.dataset.last))
  await page.locator('main button', { hasText: '另找别的' }).tap()
  await page.locator('[data-where=hj212]').tap()
  await page.locator('[data-source="STRANGER-7"] [data-test=register-logger]').tap()
  await page.locator('[data-template=hj212-waste-water]').tap()
  report.mn = await page.locator('[data-field="parameters.mn"] input').inputValue()

  // Units of a bus: a tap leads to the form of a template with address and unit filled in.
  await page.goto(task.base + '/#/discover')
  await page.locator('[data-test=other]').tap()
  await page.locator('[data-where=modbus]').tap()
  await page.fill('[data-field=address] input, input[data-field=address]', task.slave)
  await page.fill('[data-field=last] input, input[data-field=last]', '4')
  await page.locator('[data-test=scan]').tap()
  await page.waitForSelector('[data-unit]')
  report.units = await page.locator('[data-unit]').evaluateAll((l) => l.map((e) => e.dataset.unit))
  await fitsHand('units')
  await shot(page, 'discover-units')
  await page.locator('[data-unit]').first().tap()
  await page.locator('[data-template=tank-radar-level]').tap()
  report.filled = await page.locator('[data-field="parameters.address"] input').inputValue()
  report.unit = await page.locator('[data-field="parameters.unit"] input').inputValue()
  await fitsHand('form')
})
