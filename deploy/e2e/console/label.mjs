// A field engineer with a phone, 360 pixels wide and 400 ms from the gateway:
// from the printed label to the live value of the instrument that takes the old
// one's place; a reload in the middle of a form; and answers that never come.
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { run, shot, task } from './browser.mjs'
import { firstSignIn, hand, slowLine } from './phone.mjs'

const expected = [/status of 401/, /closed before the connection is established/, /ERR_FAILED/, /ERR_INTERNET_DISCONNECTED/, /status of 404/]
const secret = 'Logger-Secret-9'

await run({ width: 360, height: 740 }, expected, async (page, report) => {
  const line = await slowLine(page)
  const ask = async (path) => (await fetch(task.api + path, { headers: { Authorization: 'Bearer ' + task.token } })).json()

  // The label is printed, and read back by a program that knows nothing of ours.
  const svg = await fetch(`${task.api}/devices/tank-plc-1/label.svg`, { headers: { Authorization: 'Bearer ' + task.token } }).then((r) => r.text())
  const paper = await page.context().newPage()
  await paper.setContent(`<body style="margin:20px;background:#fff"><img width="300" src="data:image/svg+xml;base64,${Buffer.from(svg).toString('base64')}">`)
  const print = join(task.artefacts, 'console-label.png')
  await paper.locator('img').screenshot({ path: print })
  await paper.close()
  report.label = execFileSync('zbarimg', ['--quiet', '--raw', print], { encoding: 'utf8' }).trim()

  await firstSignIn(page)

  const { tap, type } = hand(page, report)
  const value = (selector) => page.locator(`${selector} input, ${selector} select`).first().inputValue()

  // From the label to the live value of its successor. The phone's camera shows the link: one tap.
  const began = Date.now()
  report.taps = 1
  await page.goto('about:blank')
  await page.goto(report.label)
  await page.waitForFunction(() => /\d/.test(document.querySelector('[data-point="tank-101.level"] [data-test=value]')?.textContent ?? ''))
  report.labelSeconds = (Date.now() - began) / 1000
  await tap('[data-test=to-swap]')
  await type('[data-field=endpoint] input', task.instrument)
  await tap('[data-test=probe-now]')
  await page.waitForSelector('[data-step=values]')
  await shot(page, 'label-swap')
  // The old bindings end; the answer to the first new one is lost, though the gateway has made it.
  let lost = 0
  await page.route('**/api/v1/bindings', async (route) => {
    if (route.request().method() !== 'POST' || lost++) return route.continue()
    await route.fetch()
    await route.abort()
  })
  await tap('[data-test=swap]')
  await page.waitForSelector('main .message.grave')
  // The phone puts the page away, and opens it again where it was.
  await page.reload()
  await page.waitForSelector('[data-test=swap]')
  await tap('[data-test=swap]')
  await page.waitForURL(/devices\/tank-plc-1-2/)
  await page.waitForFunction(() => /\d/.test(document.querySelector('[data-point="tank-101.level"] [data-test=value]')?.textContent ?? ''))
  report.seconds = (Date.now() - began) / 1000
  await page.unroute('**/api/v1/bindings')
  report.bindings = (await ask('/bindings?device=tank-plc-1-2')).items.map((b) => b.point).sort()

  // A reload in the middle of a form, then an answer that is lost.
  const devices = (await ask('/devices')).items.length
  await page.goto(task.base + '/#/instruments/tank-radar-level')
  await type('[data-field="parameters.address"] input', task.instrument)
  await page.locator('[data-field=outlet] select').selectOption('+')
  await type('[data-field=outletName] input', '103 号储罐')
  await page.reload()
  await page.waitForSelector('[data-test=restored]')
  report.restored = [await value('[data-field="parameters.address"]'), await value('[data-field=outletName]')]
  await shot(page, 'label-restored')
  await page.locator('[data-field=site] select').selectOption('binjiang-tank-farm')
  let cut = 0
  await page.route('**/*:register', async (route) => {
    if (cut++) return route.continue()
    await route.fetch()
    await route.abort()
  })
  await tap('[data-test=save]')
  await page.waitForSelector('[data-test=unsure]')
  await shot(page, 'label-unsure')
  await tap('[data-test=save]')
  report.already = (await page.waitForSelector('[data-test=saved]').then((e) => e.textContent())).trim()
  report.made = (await ask('/devices')).items.length - devices
  report.sent = cut
  await page.unroute('**/*:register')

  // A password is never stored, and the form says so; what is saved offline is saved when the network is back.
  const field = (path) => page.locator(`[data-field="${path}"] input, [data-field="${path}"] select`).first()
  await page.goto(task.base + '/#/register/devices/+')
  await page.waitForSelector('[data-test=save]')
  await field('site').selectOption('binjiang-tank-farm')
  await field('name').fill('Gate dust')
  await field('password').fill(secret)
  report.stored = await page.evaluate((s) => Object.values({ ...localStorage, ...sessionStorage }).filter((v) => v.includes(s)).length, secret)
  await page.reload()
  report.missing = (await page.waitForSelector('[data-test=missing]').then((e) => e.textContent())).trim()
  report.password = await value('[data-field=password]')
  report.kept = await value('[data-field=name]')
  await field('password').fill(secret)
  await line.cut()
  await page.locator('[data-test=save]').tap()
  report.offline = (await page.waitForSelector('main .message.grave').then((e) => e.textContent())).trim()
  await line.mend()
  await page.locator('[data-test=save]').tap()
  await page.waitForSelector('[data-test=saved]')
  report.unsaved = (await ask('/devices')).items.filter((d) => d.name === 'Gate dust').length

  // And a draft can be let go.
  await page.goto(task.base + '/#/register/sites/+')
  await page.waitForSelector('[data-test=save]')
  await field('name').fill('Nowhere')
  await page.goto(task.base + '/#/register')
  await page.waitForSelector('[data-test=drafts]')
  await shot(page, 'label-drafts')
  await page.goto(task.base + '/#/register/sites/+')
  await page.locator('[data-test=discard]').tap()
  await page.waitForFunction((f) => f.value === '', await field('name').elementHandle())
  await page.goto(task.base + '/#/register')
  await page.waitForSelector('main h1')
  report.draftsLeft = await page.locator('[data-test=drafts] li').count()
})
