// What is done to the field from a phone: a set point with its reason, commands to
// a data logger, messages that are read again once their binding is mended, and
// cameras that are found and turned.
import { run, shot, task } from './browser.mjs'
import { firstSignIn, hand, slowLine } from './phone.mjs'

// Nobody is signed in at first; whoever leaves the front page leaves its picture;
// a set point beyond its range is meant to be refused.
const expected = [/status of 401/, /closed before the connection is established/, /status of 400.*:write/]

await run({ width: 360, height: 740 }, expected, async (page, report) => {
  await slowLine(page)
  await firstSignIn(page)
  const { tap, type, fitsHand } = hand(page, report)
  const text = async (selector) => (await page.locator(selector).first().textContent()).trim()

  // A set point: what stands there, refused beyond the range, then taken and read back.
  await page.goto(task.base + '/#/devices/fan-plc')
  await page.waitForSelector('[data-set="gate-dust.fan"] [data-test=set]:enabled')
  await tap('[data-test=set]')
  await type('[data-field=value] input, input[data-field=value]', '60')
  await type('[data-field=reason] input, input[data-field=reason]', '降尘')
  await fitsHand('set point')
  await tap('[data-test=set-save]')
  await shot(page, 'set-point')
  await tap('[data-test=confirm]')
  await page.waitForSelector('[data-set] .entry .error')
  report.refused = await text('[data-set] .entry .error')
  await type('[data-field=value] input, input[data-field=value]', '25.5')
  await tap('[data-test=set-save]')
  report.asks = await text('dialog h2')
  await tap('[data-test=confirm]')
  report.set = await text('[data-test=set-done]')
  await fitsHand('set point done')

  // A logger tells its time and sends history again.
  await page.goto(task.base + '/#/devices/logger-1')
  await page.waitForSelector('[data-test=logger]')
  await tap('[data-test=logger-clock]')
  report.clock = await text('[data-test=logger-answer]')
  await tap('[data-test=logger-fill]')
  await fitsHand('logger')
  await shot(page, 'logger')
  await tap('[data-test=logger-send]')
  await page.waitForSelector('[data-test=logger-clock]')
  report.filled = await text('[data-test=logger-answer]')

  // A letter: why, what it says, mended by its binding, read again.
  await page.goto(task.base + '/#/letters/haze')
  await page.waitForSelector('[data-letter]')
  report.letter = await text('[data-letter]')
  await fitsHand('letters')
  await shot(page, 'letters')
  await tap('[data-letter] .mend a')
  await type('[data-field="topic.path"] input', 'pm10')
  await tap('[data-test=save]')
  await page.waitForSelector('[data-test=saved]')
  await page.goto(task.base + '/#/letters/haze')
  await tap('[data-test=replay-all]')
  report.replayed = await text('[data-test=result]')
  await fitsHand('letters read')
  await shot(page, 'letters-read')

  // What an inspector takes along, and how each outlet has fared.
  await page.goto(task.base + '/#/points/gate-dust.haze')
  await page.waitForSelector('[data-test=csv]')
  const [table] = await Promise.all([page.waitForEvent('download'), tap('[data-test=csv]')])
  let csv = ''
  for await (const part of await table.createReadStream()) csv += part
  report.csv = csv
  await page.goto(task.base + '/#/devices')
  await page.waitForSelector('[data-test=outlet-rates] li')
  await fitsHand('devices')
  await page.locator('[data-test=outlet-rates]').scrollIntoViewIfNeeded()
  await shot(page, 'outlet-rates')
  report.rates = await page.locator('[data-test=outlet-rates] li b').allTextContents()

  // A recorder's channels are found by hand, registered, and each tried with a picture.
  await page.goto(task.base + '/#/discover')
  await tap('[data-where=onvif]')
  for (const [field, value] of [['address', task.recorder], ['username', 'admin'], ['password', task.recorderPassword]]) await type(`[data-field=${field}] input, input[data-field=${field}]`, value)
  await page.locator('select[data-field=site], [data-field=site] select').selectOption('hengyuan-plot-7')
  await tap('[data-test=inspect]')
  await page.waitForSelector('[data-channel]')
  await fitsHand('channels')
  await tap('[data-test=adopt-cameras]')
  await page.waitForFunction(() => document.querySelectorAll('[data-tried=true] img').length === 2)
  await fitsHand('cameras registered')
  await page.screenshot({ path: task.artefacts + '/console-cameras-registered.png', fullPage: true })
  report.cameras = await page.locator('[data-made]').evaluateAll((l) => l.map((e) => e.dataset.made))

  // It turns while a button or an arrow is held, and stands when that is let go.
  await page.goto(task.base + '/#/cameras/' + report.cameras[0])
  const button = page.locator('[data-way=right]')
  await button.scrollIntoViewIfNeeded()
  const told = (verb) => page.waitForResponse((r) => r.url().endsWith('/ptz:' + verb) && r.ok())
  const turned = async (hold, letGo) => {
    let moving = told('move')
    await hold()
    for (let i = 0; i < 2; i++) {
      await moving
      moving = told('move') // it is renewed
    }
    await moving
    const stopped = told('stop')
    await letGo()
    await stopped
  }
  await button.hover()
  await turned(() => page.mouse.down(), () => page.mouse.up())
  await turned(() => page.keyboard.down('ArrowUp'), () => page.keyboard.up('ArrowUp'))
  await fitsHand('steering')
  await shot(page, 'steering')
})
