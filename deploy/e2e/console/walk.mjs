// Every page of the console as it is measured with a ruler: on a phone each
// target is 44 pixels or more and nothing scrolls sideways; every text has its
// contrast in both themes; whoever has only a keyboard sees where it is.
import { run, shot, task } from './browser.mjs'

const expected = [/status of 401/, /closed before the connection is established/, /status of 503.*still\.jpg/, /status of 404/]

// Runs in the page. WCAG 2.2: 2.5.5 (44 pixels; links within a sentence are excepted), 1.4.3, 1.4.10.
function measure({ targets }) {
  const faults = []
  const shown = (e) => e.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) && !e.closest('.hidden-text, .skip') && e.getBoundingClientRect().width > 1
  const name = (e) => `${e.tagName.toLowerCase()} "${(e.getAttribute('aria-label') || e.textContent || e.placeholder || '').trim().slice(0, 30)}"`
  const sideways = document.documentElement.scrollWidth - innerWidth
  if (sideways > 0) faults.push(`scrolls sideways by ${sideways}`)

  for (const e of document.querySelectorAll('button, a[href], input, select, textarea, summary')) {
    if (!shown(e)) continue
    const label = e.labels?.[0]
    const said = e.getAttribute('aria-label') || e.textContent.trim() || label?.textContent.trim() || e.title || e.placeholder
    if (!said) faults.push(`${e.outerHTML.slice(0, 80)} has no name`)
    if (!targets || (e.tagName === 'A' && getComputedStyle(e).display === 'inline')) continue
    const whole = getComputedStyle(e, '::after').position === 'absolute' ? e.offsetParent : ['checkbox', 'radio'].includes(e.type) ? label : e
    const box = whole?.getBoundingClientRect() ?? { width: 0, height: 0 }
    if (box.height < 43.5 || box.width < 43.5) faults.push(`${name(e)} is ${Math.round(box.width)} x ${Math.round(box.height)}`)
  }

  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true })
  const colour = (c) => {
    canvas.clearRect(0, 0, 1, 1)
    canvas.fillStyle = c
    canvas.fillRect(0, 0, 1, 1)
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data
    return [r, g, b, a / 255]
  }
  const over = (top, ground) => [0, 1, 2].map((i) => top[i] * top[3] + ground[i] * (1 - top[3])).concat(1)
  const ground = (e) => {
    const layers = []
    for (let x = e; x; x = x.parentElement) {
      const s = getComputedStyle(x)
      if (s.backgroundImage !== 'none') return undefined
      const c = colour(s.backgroundColor)
      if (c[3] > 0) layers.push(c)
      if (c[3] === 1) break
    }
    return layers.reverse().reduce((g, c) => over(c, g), [255, 255, 255, 1])
  }
  const luminance = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const seen = new Set()
  for (const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT); walker.nextNode();) {
    const e = walker.currentNode.parentElement
    if (!walker.currentNode.data.trim() || !shown(e) || e.closest(':disabled, option, script, style, figure, [data-over-picture]')) continue
    const s = getComputedStyle(e)
    const g = ground(e)
    if (!g) continue
    const text = over(colour(e instanceof SVGElement ? s.fill : s.color), g)
    const [low, high] = [luminance(text), luminance(g)].sort((a, b) => a - b)
    const ratio = (high + 0.05) / (low + 0.05)
    const size = parseFloat(s.fontSize)
    const need = size >= 24 || (size >= 18.66 && s.fontWeight >= 700) ? 3 : 4.5
    const said = `${name(e)} has contrast ${ratio.toFixed(2)}`
    if (ratio < need && !seen.has(said)) faults.push(said)
    seen.add(said)
  }
  return faults
}

const phone = task.width < 500
await run({ width: task.width, height: phone ? 740 : 800 }, expected, async (page, report) => {
  report.faults = []
  report.pages = 0
  await page.goto(task.base + '/')
  const at = async (where) => {
    report.pages++
    for (const f of await page.evaluate(measure, { targets: phone })) report.faults.push(`${where} at ${task.width}: ${f}`)
  }
  await page.waitForSelector('input[autocomplete=username]')
  await at('sign-in')
  await page.fill('input[autocomplete=username]', task.person)
  await page.fill('input[autocomplete=current-password]', task.password)
  await page.click('button.primary')
  await page.waitForSelector('input[autocomplete=new-password], [data-test=account]')
  if (await page.$('input[autocomplete=new-password]')) {
    await at('first password')
    await page.fill('input[autocomplete=current-password]', task.password)
    for (const e of await page.locator('input[autocomplete=new-password]').all()) await e.fill(task.nextPassword)
    await page.click('button.primary')
  }
  await page.waitForSelector('[data-test=account]')

  for (const [theme, language] of [['light', 'zh-CN'], ['dark', 'en']]) {
    await page.evaluate(([t, l]) => {
      localStorage.setItem('offsite.theme', t)
      localStorage.setItem('offsite.language', l)
    }, [theme, language])
    await page.reload()
    for (const path of task.pages) {
      await page.goto(`${task.base}/#/${path}`)
      await page.waitForSelector('main h1, main h2')
      await page.waitForFunction(() => !/正在读取|Loading|正在逐行|row by row/.test(document.querySelector('main').textContent), undefined, { timeout: 5000 }).catch(() => report.faults.push(`/${path} goes on loading`))
      await at(`/${path} ${theme} ${language}`)
      if (task.shots) await shot(page, `walk-${task.width}-${theme}-${path.replace(/\W+/g, '_') || 'front'}`)
    }
    await page.click('[data-test=account]')
    await at(`menu ${theme} ${language}`)
    await page.keyboard.press('Escape')
  }

  // The ruler itself: what is spoilt on purpose is found.
  await page.addStyleTag({ content: 'main .button { min-height: 20px !important; padding: 0 !important; line-height: 1; color: #999 !important; background: #eee !important }' })
  await page.goto(task.base + '/#/register')
  await page.waitForSelector('main .button')
  report.control = await page.evaluate(measure, { targets: true })
  await page.reload()

  // Only a keyboard: each stop on the way is drawn.
  await page.goto(task.base + '/#/register')
  await page.waitForSelector('main h1')
  await page.evaluate(() => document.activeElement?.blur())
  report.stops = []
  for (let i = 0; i < 12; i++) {
    await page.keyboard.press('Tab')
    const stop = await page.evaluate(() => {
      const e = document.activeElement
      const s = getComputedStyle(e)
      return { name: (e.getAttribute('aria-label') || e.textContent).trim().slice(0, 30), outline: s.outlineStyle === 'none' ? 0 : parseFloat(s.outlineWidth), top: e.getBoundingClientRect().top }
    })
    report.stops.push(stop.name)
    if (stop.outline < 2) report.faults.push(`focus on "${stop.name}" is not drawn`)
  }
})
