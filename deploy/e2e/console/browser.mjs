// Opens the console in Chromium and keeps what the browser complains about.
import { createRequire } from 'node:module'
import { join } from 'node:path'

const task = JSON.parse(process.env.OFFSITE_TASK)
const { chromium } = createRequire(join(task.modules, 'package.json'))('playwright-core')

const flags = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required',
]

export { task }

/** Runs steps with a page of the given size and prints its report as one line of JSON. */
export async function run(viewport, expected, steps) {
  const browser = await chromium.launch({ executablePath: task.chromium, args: flags })
  const report = { complaints: [] }
  try {
    const context = await browser.newContext({ viewport, locale: 'zh-CN', timezoneId: 'Asia/Shanghai', hasTouch: viewport.width < 500, ignoreHTTPSErrors: !!task.selfSigned })
    context.setDefaultTimeout(30_000)
    await context.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (e) => console.error('content security policy: ' + e.violatedDirective + ' ' + e.blockedURI))
    })
    const page = await context.newPage()
    page.on('pageerror', (e) => report.complaints.push(String(e)))
    page.on('console', (m) => {
      const text = `${m.text()} ${m.location().url}`
      if ((m.type() === 'error' || m.type() === 'warning') && !expected.some((e) => e.test(text))) report.complaints.push(text)
    })
    try {
      await steps(page, report)
    } catch (e) {
      await page.screenshot({ path: join(task.artefacts, task.name + '-failed.png'), fullPage: true })
      throw e
    }
  } catch (e) {
    report.failure = String(e?.stack ?? e)
  } finally {
    await browser.close()
  }
  console.log(JSON.stringify(report))
}

export const shot = (page, name) => page.screenshot({ path: join(task.artefacts, `console-${name}.png`) })

/** What the page's video shows: the clock that is burnt into the picture changes its sum. */
export const look = (page) => page.evaluate(() => {
  const v = document.querySelector('video')
  const c = new OffscreenCanvas(v.videoWidth, v.videoHeight).getContext('2d')
  c.drawImage(v, 0, 0)
  const p = c.getImageData(0, 0, v.videoWidth, v.videoHeight).data
  let sum = 0
  for (let i = 0; i < p.length; i += 4) sum = (sum * 31 + p[i]) >>> 0
  return { time: v.currentTime, width: v.videoWidth, frames: v.getVideoPlaybackQuality().totalVideoFrames, sum }
})
