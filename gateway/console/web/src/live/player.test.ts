import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type Asked, Ladder, type Rung, rungs, type Showing, type Standing } from './player'

const asked: Asked = { base: '/api/v1/cameras/gate', profile: 'main', lowLatency: false, sub: false }
const names = (list: Rung[]) => list.map((r) => r.way + '/' + r.profile).join(' ')

test.each<[string, Partial<Asked>, string]>([
  ['by default', {}, 'socket/main hls/main stills/main'],
  ['with low latency', { lowLatency: true }, 'webrtc/main socket/main hls/main stills/main'],
  ['with low latency and a sub-stream', { lowLatency: true, sub: true }, 'webrtc/main webrtc/sub socket/main socket/sub hls/main hls/sub stills/main'],
  ['with a sub-stream', { sub: true }, 'socket/main socket/sub hls/main hls/sub stills/main'],
  ['a tile of the wall', { profile: 'sub', sub: true, lowLatency: true }, 'webrtc/sub socket/sub hls/sub stills/sub'],
])('rungs %s', (_, a, want) => expect(names(rungs({ ...asked, ...a }))).toBe(want))

/** A ladder whose players do as the test says. */
function ladder(a: Partial<Asked>) {
  const made: { rung: Rung; tell: (s: Showing) => void; stopped: boolean }[] = []
  const told: Standing[] = []
  const l = new Ladder(
    { ...asked, ...a },
    (rung, tell) => {
      const p = { rung, tell, stopped: false }
      made.push(p)
      return { stop: () => (p.stopped = true), lag: () => 1 }
    },
    (s) => told.push(s),
  )
  const says = async (s: Showing) => {
    made.at(-1)!.tell(s)
    await Promise.resolve()
  }
  return { l, made, told, says, tried: () => names(made.map((m) => m.rung)) }
}

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test('a way that is closed is left, for both profiles, and the reason is told', async () => {
  const x = ladder({ lowLatency: true, sub: true })
  await x.says({ mode: 'unreachable' })
  expect(x.tried()).toBe('webrtc/main socket/main')
  expect(x.made[0]!.stopped).toBe(true)
  await x.says({ mode: 'live', codec: 'c', width: 1, height: 1 })
  expect(x.told.at(-1)).toMatchObject({ rung: { way: 'socket' }, showing: { mode: 'live' }, left: [{ way: 'webrtc', why: 'unreachable' }] })
  vi.advanceTimersByTime(120_000)
  expect(x.made.length).toBe(2) // what plays is left alone
})

test('what cannot be decoded is tried as sub-stream, and never again', async () => {
  const x = ladder({ sub: true })
  await x.says({ mode: 'unplayable', codec: 'hvc1' })
  expect(x.tried()).toBe('socket/main socket/sub')
  await x.says({ mode: 'unplayable', codec: 'hvc1' })
  await x.says({ mode: 'unplayable', codec: 'HLS' })
  await x.says({ mode: 'unplayable', codec: 'HLS' })
  expect(x.told.at(-1)).toMatchObject({ rung: { way: 'stills' }, showing: { mode: 'unplayable' } })
  vi.advanceTimersByTime(120_000)
  expect(x.made.length).toBe(4)
})

test('stills end when what was out of reach is there again', async () => {
  const x = ladder({})
  await x.says({ mode: 'unreachable' })
  await x.says({ mode: 'unplayable', codec: 'HLS' })
  expect(x.told.at(-1)).toMatchObject({ rung: { way: 'stills' }, showing: { mode: 'unreachable' } })
  vi.advanceTimersByTime(30_000)
  expect(x.tried()).toBe('socket/main hls/main socket/main')
  await x.says({ mode: 'unreachable' })
  expect(x.tried()).toBe('socket/main hls/main socket/main') // HLS is known not to play here
  expect(x.told.at(-1)!.rung.way).toBe('stills')
})

test('a player that is stopped, or left, says nothing any more', async () => {
  const x = ladder({})
  await x.says({ mode: 'unreachable' })
  x.made[0]!.tell({ mode: 'connecting' })
  expect(x.told.length).toBe(0)
  x.l.stop()
  expect(x.made[1]!.stopped).toBe(true)
  expect(x.l.lag()).toBe(0)
})
