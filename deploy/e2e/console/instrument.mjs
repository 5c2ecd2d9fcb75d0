// A field engineer at a cabinet, 360 pixels wide and 400 ms from the gateway:
// from the search of a template to a live value, with a test on the way.
import { run, shot, task } from './browser.mjs'

// Nobody is signed in at first; whoever leaves the front page leaves its picture;
// a wrong form is meant to be refused.
const expected = [/status of 401/, /closed before the connection is established/, /status of 400.*(templates|devices:probe)/]

await run({ width: 360, height: 740 }, expected, async (page, report) => {
  const network = await page.context().newCDPSession(page)
  await network.send('Network.enable')
  await network.send('Network.emulateNetworkConditions', { offline: false, latency: 400, downloadThroughput: -1, uploadThroughput: -1 })
  await page.goto(task.base + '/')
  await page.fill('input[autocomplete=username]', task.person)
  await page.fill('input[autocomplete=current-password]', task.password)
  await page.click('button.primary')
  await page.waitForSelector('input[autocomplete=new-password]')
  await page.fill('input[autocomplete=current-password]', task.password)
  for (const e of await page.locator('input[autocomplete=new-password]').all()) await e.fill(task.nextPassword)
  await page.click('button.primary')
  await page.waitForSelector('[data-test=account]')

  // Every touch counts; a choice from a list takes two.
  report.taps = 0
  report.faults = []
  const tap = async (selector) => {
    report.taps++
    await page.locator(selector).first().tap()
  }
  const type = async (selector, text) => {
    await tap(selector)
    await page.locator(selector).first().fill(text)
  }
  const choose = async (selector, value) => {
    report.taps += 2
    await page.locator(selector).first().selectOption(value)
  }
  const fitsHand = async (where) => {
    const small = await page.evaluate(() => [...document.querySelectorAll('main button, main input, main select, main a.button, main summary, nav a')]
      .filter((e) => e.offsetParent !== null && !['checkbox', 'radio'].includes(e.type) && e.getBoundingClientRect().height < 43.5)
      .map((e) => `${e.tagName} ${e.textContent.trim()} ${e.getBoundingClientRect().height}`))
    const sideways = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
    if (small.length) report.faults.push(`${where}: targets too small: ${small.join(', ')}`)
    if (sideways > 0) report.faults.push(`${where}: scrolls sideways by ${sideways}`)
  }

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
})
