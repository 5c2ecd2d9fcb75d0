import { afterEach, expect, test, vi } from 'vitest'
import { refusal } from './blob'

afterEach(() => void vi.unstubAllGlobals())

test.each([
  ['damaged', () => Promise.resolve(new Response('{"code":"evidence_damaged","zh":"已改变","en":"changed"}', { status: 503 })), 'evidence_damaged'],
  ['no network', () => Promise.reject(new TypeError('failed')), 'unreachable'],
  ['there and whole', () => Promise.resolve(new Response('x', { status: 206 })), undefined],
])('%s', async (_name, answer, code) => {
  vi.stubGlobal('fetch', answer)
  expect((await refusal('/api/v1/blobs/x'))?.code).toBe(code)
})
