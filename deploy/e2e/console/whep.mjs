// A camera with the least delay: by UDP, by TCP where UDP does not pass, and
// another way, with the reason, where neither does.
import { look, run, shot, task } from './browser.mjs'

// A refused or blocked request is what the last step is about.
await run({ width: 1280, height: 800 }, [/whep/], async (page, report) => {
  await page.goto(task.url)
  await page.waitForSelector('[data-test=account]')

  /** Opens the camera in a page of its own and tells how it plays. */
  const watch = async (name, answer) => {
    const tab = await page.context().newPage()
    if (answer) await tab.route('**/whep?*', answer)
    await tab.goto(task.base + '/#/cameras/cam-1')
    await tab.waitForSelector('figure.live')
    if (!report.chosen) {
      await tab.click('figure.live .quick')
      report.chosen = await tab.locator('figure.live .quick').textContent()
    }
    await tab.waitForSelector(`figure.live[data-mode=live][data-way=${name === 'neither' ? 'socket' : 'webrtc'}]`)
    await tab.waitForFunction(() => document.querySelector('video')?.videoWidth > 0 && document.querySelector('video')?.currentTime > 0.5)
    const first = await look(tab)
    await tab.waitForFunction((from) => document.querySelector('video')?.currentTime > from + 2, first.time)
    const later = await look(tab)
    const told = { first, later, caption: await tab.locator('figcaption').textContent(), left: (await tab.locator('figure.live .left').allTextContents()).join() }
    await shot(tab, 'whep-' + name)
    await tab.close()
    return told
  }

  report.udp = await watch('udp')
  report.tcp = await watch('tcp', async (route) => {
    const r = await route.fetch()
    const sdp = await r.text()
    await route.fulfill({ response: r, body: sdp.split('\r\n').filter((l) => !/^a=candidate.* udp /i.test(l)).join('\r\n') })
  })
  report.neither = await watch('neither', (route) => route.abort())
})
