// A field engineer's phone: 400 ms from the gateway, every touch counted.
import { task } from './browser.mjs'

/** What a page on a slow line has beside it: the line, which may be cut and come back. */
export async function slowLine(page) {
  const network = await page.context().newCDPSession(page)
  await network.send('Network.enable')
  const set = (offline) => network.send('Network.emulateNetworkConditions', { offline, latency: 400, downloadThroughput: -1, uploadThroughput: -1 })
  await set(false)
  return { cut: () => set(true), mend: () => set(false) }
}

/** Signs in for the first time, which asks for a password of one's own. */
export async function firstSignIn(page) {
  await page.goto(task.base + '/')
  await page.fill('input[autocomplete=username]', task.person)
  await page.fill('input[autocomplete=current-password]', task.password)
  await page.click('button.primary')
  await page.waitForSelector('input[autocomplete=new-password]')
  await page.fill('input[autocomplete=current-password]', task.password)
  for (const e of await page.locator('input[autocomplete=new-password]').all()) await e.fill(task.nextPassword)
  await page.click('button.primary')
  await page.waitForSelector('[data-test=account]')
}

/** The hand that holds it: report.taps counts its touches, a choice from a list takes two. */
export function hand(page, report) {
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
    const small = await page.evaluate(() => [...document.querySelectorAll('main button, main input, main select, main textarea, main a.button, main summary, main label:has(input[type=checkbox]), nav a')]
      .filter((e) => e.offsetParent !== null && !['checkbox', 'radio'].includes(e.type) && e.getBoundingClientRect().height < 43.5)
      .map((e) => `${e.tagName} ${e.textContent.trim()} ${e.getBoundingClientRect().height}`))
    const sideways = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
    if (small.length) report.faults.push(`${where}: targets too small: ${small.join(', ')}`)
    if (sideways > 0) report.faults.push(`${where}: scrolls sideways by ${sideways}`)
  }
  return { tap, type, choose, fitsHand }
}
