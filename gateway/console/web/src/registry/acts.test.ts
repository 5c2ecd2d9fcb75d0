import { expect, test } from 'vitest'
import document from '../../../../api/openapi.yaml?raw'
import { actWords } from './acts'

// Those that the gateway does by itself, or that the platform asks for, are not in the document.
const others = [
  'command.interrupted', 'audit.begin', 'audit.broken', 'event.opened', 'event.updated', 'event.closed', 'event.corrected', 'evidence.attached', 'evidence.none', 'evidence.deleted', 'stream.ended',
  'live.view.end', 'live.whep.end', 'live.hls.end', 'live.rtsp', 'live.rtsp.end', 'recording.exported', 'recording.fetched', 'snapshot.take', 'stream.open', 'stream.renew', 'stream.close', 'reading.read',
  'readings.query', 'recording.query', 'subscription.set', 'limit.set', 'ptz.move', 'resources.sync',
]

test('every act of the audit trail has words', () => {
  const acts = [...document.matchAll(/^ +x-audit: ([a-z_.]+)$/gm)].map((m) => m[1]!)
  expect(acts.length).toBeGreaterThan(60)
  expect([...new Set([...acts, ...others])].filter((act) => /[a-z]/.test(actWords(act)))).toEqual([])
})
