import { createPinia } from 'pinia'
import { createSSRApp } from 'vue'
import { renderToString } from 'vue/server-renderer'
import { afterEach, expect, it } from 'vitest'
import type { Schemas } from '../api/client'
import { locale } from '../i18n'
import EvidenceFile from './EvidenceFile.vue'

const still: Schemas['Picture'] = {
  camera: 'cam-1', kind: 'still', moment: '0s', state: 'attached', sha256: 'a'.repeat(64), content_type: 'image/jpeg', taken_at: '2026-03-01T04:00:00Z', distance: '-900ms', step: 'ffmpeg',
}
const problem = { field: '', code: 'still_damaged', zh: '数据损坏', en: 'damaged data' }
const shown = (picture: Schemas['Picture']) => renderToString(createSSRApp(EvidenceFile, { picture }).use(createPinia()))

afterEach(() => { locale.value = 'zh-CN' })

it.each([['zh-CN', '数据损坏'], ['en', 'damaged data']] as const)('a still that is not of its moment says why, in %s', async (language, words) => {
  locale.value = language
  expect(await shown({ ...still, problem })).toContain(words)
  expect(await shown(still)).not.toContain('data-test="lacks"')
})
