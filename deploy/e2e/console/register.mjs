// A field engineer at a cabinet: signs in for the first time on a phone 360
// pixels wide, registers a site down to a limit, and sees the value arrive.
import { execFileSync } from 'node:child_process'
import { run, shot, task } from './browser.mjs'

// Requests that are meant to fail: nobody is signed in, a field is wrong, an
// older version is saved, the network is away, a new camera has no picture yet;
// an id that is about to be chosen or was sent without an answer is looked up.
const expected = [/status of 401/, /ERR_FAILED.*\/api\/v1\/sites/, /status of 503.*still\.jpg/, /status of 4(00|22).*\/api\/v1\/(sites|points)/, /status of 409/, /status of 404.*\/api\/v1\/(sites|limits)\//]
const [host, port] = task.broker.split(':')
const publish = (value) =>
  execFileSync('mosquitto_pub', ['-h', host, '-p', port, '-u', 'yard-meter', '-P', 'Yard-Meter-7', '-i', 'yard-meter', '-q', '1', '-t', 'offsite/yard-meter/pm10', '-m', String(value)])

// A name that would do harm if it were taken for more than text.
const mark = '<img src=x onerror="console.error(1)">'

await run({ width: 360, height: 740 }, expected, async (page, report) => {
  const field = (path) => page.locator(`[data-field="${path}"]`).locator('input, select').first()
  const set = async (path, value) => {
    const f = field(path)
    if ((await f.evaluate((e) => e.tagName)) === 'SELECT') await f.selectOption(value)
    else await f.fill(value)
  }
  const small = () => page.evaluate(() => [...document.querySelectorAll('main button, main input, main select, main textarea, main a.button, nav a')]
    .filter((e) => e.offsetParent !== null && e.type !== 'checkbox' && e.getBoundingClientRect().height < 43.5)
    .map((e) => e.tagName + ' ' + e.textContent.trim() + ' ' + e.getBoundingClientRect().height))
  const sideways = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
  report.faults = []
  const fitsHand = async (where) => {
    const tooSmall = await small()
    if (tooSmall.length) report.faults.push(where + ': targets too small: ' + tooSmall.join(', '))
    if ((await sideways()) > 0) report.faults.push(where + ': scrolls sideways by ' + (await sideways()))
  }
  // next fills the form that is open, saves it and takes the link to the form of the following kind.
  const save = async (kind, values) => {
    await page.waitForSelector('[data-test=save]')
    for (const [path, value] of values) await set(path, value)
    await fitsHand(kind)
    await page.click('[data-test=save]')
    await page.waitForSelector('[data-test=saved]')
    await fitsHand(kind + ' saved')
  }
  const onTo = (kind) => page.click(`a[href*="/register/${kind}/+?"]`)

  const signIn = async (password) => {
    await page.fill('input[autocomplete=username]', task.person)
    await page.fill('input[type=password]', password)
    await fitsHand('sign-in')
    await page.click('button.primary')
  }

  await page.goto(task.base + '/')
  await signIn(task.password)
  await page.waitForSelector('input[autocomplete=new-password]')
  await page.fill('input[autocomplete=current-password]', task.password)
  for (const e of await page.locator('input[autocomplete=new-password]').all()) await e.fill(task.nextPassword)
  await page.click('button.primary')
  await page.waitForSelector('[data-test=account]')

  await page.goto(task.base + '/#/register/sites/+')
  await page.waitForSelector('[data-test=save]')
  await set('name', '码头堆场')
  await set('id', 'Not an id!')
  await set('kind', 'other')
  await page.click('[data-test=save]')
  report.idFault = (await page.locator('[data-field=id] .error').textContent()).trim()
  report.typed = await field('name').inputValue()
  await shot(page, 'phone-fault')

  // The network is away, then the session ends: what was typed stays.
  await set('id', 'dock-yard')
  await page.route('**/api/v1/sites', (r) => r.abort())
  await page.click('[data-test=save]')
  report.unreachable = (await page.locator('main .message.grave').textContent()).trim()
  await page.unroute('**/api/v1/sites')
  await page.context().clearCookies()
  await page.click('[data-test=save]')
  await signIn(task.nextPassword)
  await page.waitForSelector('[data-test=save]')
  report.restored = [await field('name').inputValue(), await field('id').inputValue(), await field('kind').inputValue()]
  await save('site', [])
  await onTo('outlets')
  await save('outlet', [['name', '堆场扬尘点' + mark], ['kind', 'dust'], ['id', 'yard-dust']])
  await onTo('points')
  await save('point', [['name', 'PM10'], ['factor', 'a34002'], ['unit', 'ug/m3'], ['digits', '0']])
  report.pointId = await field('id').inputValue()
  await page.goto(task.base + '/#/register/devices/+')
  await save('device', [['site', 'dock-yard'], ['name', '堆场扬尘仪'], ['driver', 'broker'], ['password', 'Yard-Meter-7'], ['id', 'yard-meter']])
  await onTo('bindings')
  await save('binding', [['point', 'yard-dust.pm10']])
  publish(87)
  const last = page.locator('[data-last="yard-dust.pm10"] [data-test=last-value]')
  await last.waitFor()
  report.lastValue = await last.textContent()
  await shot(page, 'phone-last-value')
  await page.goto(task.base + '/#/register/cameras/+')
  const shown = await (await fetch(task.api + '/cameras/cam-1', { headers: { Authorization: 'Bearer ' + task.token } })).json()
  await save('camera', [['site', 'dock-yard'], ['name', '堆场摄像机'], ['url', shown.url], ['id', 'yard-cam']])
  const still = page.locator('[data-test=still]')
  await still.waitFor()
  await page.waitForFunction((p) => p.complete && p.naturalWidth > 0, await still.elementHandle())
  report.still = await still.evaluate((p) => p.naturalWidth)
  await shot(page, 'phone-camera')
  await page.goto(task.base + '/#/register/limits/+?point=yard-dust.pm10')
  await save('limit', [['point', 'yard-dust.pm10'], ['level', 'H'], ['value', '100']])
  publish(143)
  await page.goto(task.base + '/#/events?site=dock-yard')
  const event = page.locator('[data-event]').first()
  await event.waitFor()
  report.event = (await event.textContent()).replace(/\s+/g, ' ')
  await fitsHand('events')
  await shot(page, 'phone-events')

  // Somebody else saves the limit while it is being changed here.
  await page.goto(task.base + '/#/register/limits/yard-dust-pm10-h')
  await page.waitForSelector('[data-test=save]')
  await set('value', '120')
  const other = await fetch(task.api + '/limits/yard-dust-pm10-h', { headers: { Authorization: 'Bearer ' + task.token } }).then((r) => r.json())
  await fetch(task.api + '/limits/yard-dust-pm10-h', {
    method: 'PUT', headers: { Authorization: 'Bearer ' + task.token, 'Content-Type': 'application/json' }, body: JSON.stringify({ ...other, value: 110 }),
  })
  await page.click('[data-test=save]')
  await page.click('[data-test=reload]')
  await page.waitForFunction((f) => f.value === '110', await field('value').elementHandle())
  await save('limit again', [['value', '130']])

  await page.click('[data-test=retire]')
  report.retireAsks = (await page.locator('dialog').textContent()).replace(/\s+/g, ' ')
  await shot(page, 'phone-retire')
  await page.click('[data-test=confirm]')
  await page.waitForURL(/register\/limits$/)
  report.limitGone = (await page.locator('a[href*="yard-dust-pm10-h"]').count()) === 0

  // The same again: the id that was retired is never used again, the form finds the next.
  await page.goto(task.base + '/#/register/limits/+?point=yard-dust.pm10')
  await save('limit once more', [['level', 'H'], ['value', '140']])
  report.nextId = await field('id').inputValue()
})
